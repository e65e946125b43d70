/* The pause program: holds the namespaces of a pod, reaps what is left of its processes, ends on a signal.
 *
 * Static, without a C library, so that the whole image is a few KiB. x86-64 Linux only. */

enum { SYS_pause = 34, SYS_exit = 60, SYS_wait4 = 61, SYS_sigaction = 13, SYS_sigreturn = 15 };
enum { SIGINT = 2, SIGTERM = 15, SIGCHLD = 17, WNOHANG = 1, SA_RESTORER = 0x04000000 };

struct action {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    unsigned long mask;
};

static long call(long number, long a, long b, long c, long d)
{
    long result;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return result;
}

__attribute__((naked)) static void back(void)
{
    __asm__("mov $15, %eax\n\tsyscall");
}

static void reap(int signal)
{
    (void)signal;
    while (call(SYS_wait4, -1, 0, WNOHANG, 0) > 0) {
    }
}

static void end(int signal)
{
    (void)signal;
    call(SYS_exit, 0, 0, 0, 0);
}

static void on(int signal, void (*handler)(int))
{
    struct action action = {handler, SA_RESTORER, back, 0};
    call(SYS_sigaction, signal, (long)&action, 0, sizeof action.mask);
}

void _start(void)
{
    on(SIGCHLD, reap);
    on(SIGINT, end);
    on(SIGTERM, end);
    for (;;) {
        call(SYS_pause, 0, 0, 0, 0);
    }
}
