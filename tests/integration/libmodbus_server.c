/* A Modbus server by libmodbus: libmodbus_server tcp PORT, or rtu DEVICE (19200 baud, no parity, unit 1).
 * Holding register n holds 3n, input register n 1000 + n, coil n is on when n is odd, discrete input n when
 * 3 divides n; 12.315 (41 45 0A 3D) stands in holding registers 150 to 157 as ABCD, CDAB, BADC and DCBA.
 * Whoever writes ends it. */
#include <modbus.h>
#include <stdlib.h>
#include <string.h>

static const uint16_t FLOATS[] = {0x4145, 0x0A3D, 0x0A3D, 0x4145, 0x4541, 0x3D0A, 0x3D0A, 0x4541};

enum { BITS = 64, REGISTERS = 200, LAST_READ_FUNCTION = 4 };

int main(int count, char **words) {
    if (count != 3) return 64;
    int tcp = strcmp(words[1], "tcp") == 0;
    modbus_t *bus = tcp ? modbus_new_tcp("127.0.0.1", atoi(words[2])) : modbus_new_rtu(words[2], 19200, 'N', 8, 1);
    modbus_mapping_t *map = modbus_mapping_new(BITS, BITS, REGISTERS, REGISTERS);
    if (bus == NULL || map == NULL) return 1;
    for (int at = 0; at < REGISTERS; at++) {
        map->tab_registers[at] = 3 * at;
        map->tab_input_registers[at] = 1000 + at;
    }
    for (int at = 0; at < BITS; at++) {
        map->tab_bits[at] = at % 2;
        map->tab_input_bits[at] = at % 3 == 0;
    }
    memcpy(map->tab_registers + 150, FLOATS, sizeof FLOATS);
    modbus_set_slave(bus, 1);
    int listener = tcp ? modbus_tcp_listen(bus, 1) : modbus_connect(bus);
    if (listener == -1) return 1;
    for (;;) {
        uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
        int length = 0;
        if (tcp && modbus_tcp_accept(bus, &listener) == -1) return 1;
        while ((length = modbus_receive(bus, query)) >= 0) {
            if (length > 0 && query[modbus_get_header_length(bus)] > LAST_READ_FUNCTION) return 2;
            if (length > 0) modbus_reply(bus, query, length, map);
        }
        if (tcp) modbus_close(bus);
    }
}
