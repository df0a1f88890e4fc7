/* A Modbus TCP server by libmodbus that counts its polls: counting_modbus_server PORT REGISTERS.
 * Every holding register holds how often holding register 0 was read: a value that got lost, or that came twice,
 * shows. One connection at a time; after it the next one. Whoever writes ends it. */
#include <modbus.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { READ_HOLDING = 3, LAST_READ_FUNCTION = 4 };

int main(int count, char **words) {
    if (count != 3) return 64;
    int registers = atoi(words[2]), yes = 1;
    uint16_t polls = 0;
    modbus_t *bus = modbus_new_tcp("127.0.0.1", atoi(words[1]));
    modbus_mapping_t *map = modbus_mapping_new(0, 0, registers, 0);
    if (bus == NULL || map == NULL) return 1;
    int listener = modbus_tcp_listen(bus, 4);
    if (listener == -1) return 1;
    for (;;) {
        uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
        int length = 0, header = modbus_get_header_length(bus);
        int socket = modbus_tcp_accept(bus, &listener);
        if (socket == -1) return 1;
        setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        while ((length = modbus_receive(bus, query)) >= 0) {
            if (length == 0) continue;
            if (query[header] > LAST_READ_FUNCTION) return 2;
            if (query[header] == READ_HOLDING && query[header + 1] == 0 && query[header + 2] == 0) {
                polls++;
                for (int at = 0; at < registers; at++) map->tab_registers[at] = polls;
            }
            modbus_reply(bus, query, length, map);
        }
        modbus_close(bus);
    }
}
