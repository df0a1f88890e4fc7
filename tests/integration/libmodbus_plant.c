/* Many machines by libmodbus: libmodbus_plant PORT MACHINES serves 2000 holding registers, of which 2n and
 * 2n + 1 are the float32 20 + n / 7, on PORT of 127.0.0.1, 127.0.0.2 and so on. Each request is told on the
 * output: machine, microseconds. */
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

enum { REGISTERS = 2000, MACHINES_MAX = 200, QUEUE_MAX = 8, LAST_READ_FUNCTION = 4 };

static long long read_clock_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

int main(int count, char **words) {
    static int machine_of[FD_SETSIZE];
    int machines = count == 3 ? atoi(words[2]) : 0, top = 0;
    modbus_mapping_t *map = modbus_mapping_new(0, 0, REGISTERS, 0);
    modbus_t *bus = NULL;
    fd_set known, listening;
    if (machines < 1 || machines > MACHINES_MAX || map == NULL) return 64;
    for (int at = 0; at < REGISTERS; at += 2) modbus_set_float_abcd(20 + at / 14.0f, map->tab_registers + at);
    FD_ZERO(&known);
    FD_ZERO(&listening);
    for (int machine = 1; machine <= machines; machine++) {
        char host[32];
        snprintf(host, sizeof host, "127.0.0.%d", machine);
        bus = modbus_new_tcp(host, atoi(words[1]));
        int listener = bus == NULL ? -1 : modbus_tcp_listen(bus, QUEUE_MAX);
        if (listener == -1) return 1;
        FD_SET(listener, &known);
        FD_SET(listener, &listening);
        machine_of[listener] = machine;
        if (listener > top) top = listener;
    }
    for (;;) {
        fd_set ready = known;
        if (select(top + 1, &ready, NULL, NULL, NULL) == -1) return 1;
        for (int at = 0; at <= top; at++) {
            if (!FD_ISSET(at, &ready)) continue;
            if (FD_ISSET(at, &listening)) {
                int listener = at, socket = modbus_tcp_accept(bus, &listener);
                if (socket == -1 || socket >= FD_SETSIZE) return 1;
                FD_SET(socket, &known);
                machine_of[socket] = machine_of[at];
                if (socket > top) top = socket;
                continue;
            }
            uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
            modbus_set_socket(bus, at);
            int length = modbus_receive(bus, query);
            if (length == -1) {
                close(at);
                FD_CLR(at, &known);
            } else if (length > 0) {
                if (query[modbus_get_header_length(bus)] > LAST_READ_FUNCTION) return 2;
                printf("%d %lld\n", machine_of[at], read_clock_us());
                modbus_reply(bus, query, length, map);
            }
        }
        fflush(stdout);
    }
}
