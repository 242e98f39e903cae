/* A stand-in for a distant mirror: it answers every request on a keep-alive connection after a fixed delay.
 *
 *   delayed PORT DELAY_MS
 *
 * HEAD gets a 200 with the headers of a file, GET a 206 with one byte. All answers are late by the same time, so they leave in the
 * order in which the requests came: a queue is enough, and the delay costs no processor time that the client under test would miss.
 * Build: cc -O2 -o delayed delayed.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { QUEUE = 1 << 16, MOST = 1 << 16 };

#define COMMON "Server: delayed\r\nContent-Type: application/octet-stream\r\nETag: \"65f00000-400\"\r\nAccept-Ranges: bytes\r\n"
static const char HEAD[] = "HTTP/1.1 200 OK\r\n" COMMON "Content-Length: 1024\r\n\r\n";
static const char PART[] = "HTTP/1.1 206 Partial Content\r\n" COMMON "Content-Range: bytes 0-0/1024\r\nContent-Length: 1\r\n\r\nP";

static struct due {
    int fd, generation, is_head;
    long at;
} queue[QUEUE];
static unsigned first, last;
static int generations[MOST];

static long micros(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000L + now.tv_nsec / 1000;
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "delayed PORT DELAY_MS\n"), 2;
    signal(SIGPIPE, SIG_IGN);
    long delay = atol(argv[2]) * 1000;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) return perror("listen"), 1;
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    struct epoll_event events[256];
    for (;;) {
        struct timespec wait = {0}, *timeout = NULL;
        if (first != last) {
            long left = queue[first % QUEUE].at - micros();
            if (left > 0) wait = (struct timespec){.tv_sec = left / 1000000, .tv_nsec = left % 1000000 * 1000};
            timeout = &wait;
        }
        int n = epoll_pwait2(epoll, events, 256, timeout, NULL);
        long now = micros();
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    if (fd >= MOST) {
                        close(fd);
                        continue;
                    }
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    event = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
                    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
                }
                continue;
            }
            char request[4096];
            ssize_t got = recv(fd, request, sizeof request, 0);
            if (got <= 0) {
                generations[fd]++;
                close(fd);
            } else if (last - first < QUEUE && memmem(request, got, "\r\n\r\n", 4)) {
                queue[last++ % QUEUE] = (struct due){fd, generations[fd], request[0] == 'H', now + delay};
            }
        }
        for (now = micros(); first != last && queue[first % QUEUE].at <= now; first++) {
            struct due *due = &queue[first % QUEUE];
            if (due->generation != generations[due->fd]) continue;
            if (due->is_head)
                send(due->fd, HEAD, sizeof HEAD - 1, MSG_NOSIGNAL);
            else
                send(due->fd, PART, sizeof PART - 1, MSG_NOSIGNAL);
        }
    }
}
