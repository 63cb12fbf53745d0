/*
 * Power loss for a process: a library for LD_PRELOAD that keeps what the disk would not have.
 *
 * kill -9 leaves the page cache alone, so that a program which never syncs survives it as well as
 * one that does. This library makes the difference visible. It stands between the program and
 * libc for the files below ZS_SHIM_DATA, and before each write it puts the bytes that the write
 * will cover into an undo log below ZS_SHIM_UNDO (same file system, outside the data). fsync and
 * fdatasync of a file, once they have returned, empty its undo log. "The power fails" is then:
 * kill -9, and play the undo logs backwards (crates/testkit/src/power.rs). What was not synced
 * never happened. The same holds for names: a file made, renamed or removed has its name in a
 * log of names until its folder is synced, as POSIX has it (file systems are kinder).
 *
 *   <inode>.file   hard link to the file, so that it is found whatever its name is by then
 *   <inode>.undo   records { i64 size before, i64 offset, i64 length, bytes before }
 *   names          lines: "C path" made, "R saved|- from\tto" renamed, "U saved path" removed,
 *                  "D folder" synced
 *   events         what was done in which order, see below
 *
 * ZS_SHIM_LIE=1 is the disk that lies: fsync and fdatasync return 0, sync nothing and clear
 * nothing. A test that passes with it proves nothing.
 *
 * The event log answers "was anything acknowledged before it was on disk?". Every record is one
 * write in append mode, made before the step it tells of begins (P) or after it has returned (R,
 * A, W, S), so that "S stands before P" means "the sync had returned before the bytes could leave":
 *   { u8 kind, u32 connection, u32 length, bytes }
 *   C  a connection was accepted      bytes: u16 local port
 *   R  bytes were read from it        bytes
 *   P  bytes are about to be written  bytes
 *   A  so many of them were taken     i32
 *   W  a write to observations.db-wal returned    S  a sync of it returned (not with LIE)
 *
 * ZS_SHIM_CONTROL names a file of three i64, read anew at each call, so that a test can turn them
 * while the hub runs:
 *   0  microseconds added to CLOCK_REALTIME
 *   1  not 0: the disk is full; what would make a data file longer fails with ENOSPC
 *   2  microseconds that each sync of a data file, and each write below lake/, takes longer
 *
 * Not covered: writes through mmap (SQLite maps only its -shm file, which is made anew), splice,
 * copy_file_range and sendfile between files, and folders made. All of these err on the side of
 * the program under test; the negative control shows that enough is covered.
 *
 * Built by the tests with: cc -shared -fPIC -O2 -o powerloss.so powerloss.c -ldl
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FDS 65536

enum { NOTHING = 0, DATA_FILE = 1, DATA_FOLDER = 2, CONNECTION = 3 };

struct fd {
    unsigned char kind;
    unsigned char lake;         /* below lake/ */
    unsigned char observations; /* the log file of the observations: its writes and syncs are events */
    int undo;                   /* the undo log of the inode, open for appending */
    uint32_t connection;
    char *path; /* of a folder */
};

static struct fd fds[FDS];
static char data[PATH_MAX], undo[PATH_MAX];
static size_t data_length;
static int active, lies, events = -1, names = -1;
static uint32_t connections;
static unsigned saved;
static volatile int64_t *control;
enum { CLOCK_STEP = 0, DISK_FULL = 1, DISK_SLOW = 2 };
/* One lock over every step on data files: a write that another thread makes during a sync must
 * not be taken for synced. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The shim's own work goes past libc's names, which are ours. */
static int sys_open(const char *path, int flags, int mode) {
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
static ssize_t sys_write(int fd, const void *bytes, size_t length) {
    return syscall(SYS_write, fd, bytes, length);
}

static void die(const char *what) {
    /* A shim that cannot keep its log must not let the test pass. */
    char line[256];
    int n = snprintf(line, sizeof line, "powerloss: %s: %s\n", what, strerror(errno));
    sys_write(2, line, (size_t)n);
    _exit(99);
}

static void event(char kind, uint32_t connection, const void *bytes, uint32_t length) {
    if (events < 0) return;
    char head[9];
    head[0] = kind;
    memcpy(head + 1, &connection, 4);
    memcpy(head + 5, &length, 4);
    struct iovec parts[2] = {{head, 9}, {(void *)bytes, length}};
    if (syscall(SYS_writev, events, parts, length ? 2 : 1) != (ssize_t)(9 + length)) die("event log");
}

static void name(const char *format, ...) {
    char line[2 * PATH_MAX + 64];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (sys_write(names, line, (size_t)n) != n) die("log of names");
}

__attribute__((constructor)) static void begin(void) {
    const char *turned = getenv("ZS_SHIM_CONTROL");
    if (turned) {
        int fd = sys_open(turned, O_RDONLY | O_CLOEXEC, 0);
        if (fd < 0) die("ZS_SHIM_CONTROL");
        void *map = mmap(NULL, 24, PROT_READ, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED) die("ZS_SHIM_CONTROL");
        control = map;
        syscall(SYS_close, fd);
    }
    const char *d = getenv("ZS_SHIM_DATA"), *u = getenv("ZS_SHIM_UNDO");
    if (!d || !u) return;
    if (strlen(d) >= sizeof data || strlen(u) >= sizeof undo - 64) die("a folder's name is too long");
    strcpy(data, d);
    strcpy(undo, u);
    data_length = strlen(data);
    lies = getenv("ZS_SHIM_LIE") != NULL;
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/events", undo);
    events = sys_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    snprintf(path, sizeof path, "%s/names", undo);
    names = sys_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (events < 0 || names < 0) die("ZS_SHIM_UNDO");
    active = 1;
}

static int is_ours(const char *path) {
    size_t n = strlen(path);
    if (n > 4 && strcmp(path + n - 4, "-shm") == 0) return 0;
    return active && strncmp(path, data, data_length) == 0 && (path[data_length] == '/' || path[data_length] == 0);
}

static struct fd *slot(int fd) { return fd >= 0 && fd < FDS ? &fds[fd] : NULL; }

static void forget(int fd) {
    struct fd *s = slot(fd);
    if (!s || s->kind == NOTHING) return;
    if (s->kind == DATA_FILE && s->undo >= 0) syscall(SYS_close, s->undo);
    free(s->path);
    memset(s, 0, sizeof *s);
}

/* Follows a file or folder of ours from its opening on. */
static void follow(int fd, const char *path, int made) {
    struct fd *s = slot(fd);
    struct stat st;
    if (!s) die("too many open files");
    if (fstat(fd, &st) != 0) return;
    forget(fd);
    if (made) name("C %s\n", path);
    if (S_ISDIR(st.st_mode)) {
        s->path = strdup(path);
        s->kind = DATA_FOLDER;
        return;
    }
    if (!S_ISREG(st.st_mode)) return;
    char linked[PATH_MAX + 64];
    snprintf(linked, sizeof linked, "%s/%lu.file", undo, (unsigned long)st.st_ino);
    syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, linked, 0);
    snprintf(linked, sizeof linked, "%s/%lu.undo", undo, (unsigned long)st.st_ino);
    s->undo = sys_open(linked, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (s->undo < 0) die("undo log");
    s->lake = strncmp(path + data_length, "/lake/", 6) == 0;
    s->observations = strstr(path, "observations.db-wal") != NULL;
    s->kind = DATA_FILE;
}

/* Puts down what the bytes from `offset` on are, and how long the file is. */
static void keep(struct fd *s, int fd, int64_t offset, int64_t length) {
    struct stat st;
    if (fstat(fd, &st) != 0) die("fstat");
    int64_t there = st.st_size > offset ? st.st_size - offset : 0;
    if (there > length) there = length;
    char *record = malloc((size_t)(24 + there));
    if (!record) die("memory");
    /* The program may have opened the file for writing only. */
    int reader = fd;
    int flags = fcntl(fd, F_GETFL);
    char self[64];
    if ((flags & O_ACCMODE) == O_WRONLY) {
        snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
        reader = sys_open(self, O_RDONLY | O_CLOEXEC, 0);
    }
    int64_t got = 0;
    while (got < there) {
        ssize_t n = syscall(SYS_pread64, reader, record + 24 + got, (size_t)(there - got), offset + got);
        if (n < 0) die("reading what was there");
        if (n == 0) break;
        got += n;
    }
    if (reader != fd) syscall(SYS_close, reader);
    int64_t size = st.st_size;
    memcpy(record, &size, 8);
    memcpy(record + 8, &offset, 8);
    memcpy(record + 16, &got, 8);
    if (sys_write(s->undo, record, (size_t)(24 + got)) != 24 + got) die("undo log");
    free(record);
}

static int64_t position(int fd) {
    struct stat st;
    if (fcntl(fd, F_GETFL) & O_APPEND) return fstat(fd, &st) == 0 ? st.st_size : 0;
    int64_t at = syscall(SYS_lseek, fd, 0, SEEK_CUR);
    return at < 0 ? 0 : at;
}

/* ---- files ---- */

static int opening(int dir, const char *path, int flags, int mode) {
    if (!active || path[0] != '/' || !is_ours(path)) return (int)syscall(SYS_openat, dir, path, flags, mode);
    struct stat st;
    pthread_mutex_lock(&lock);
    int there = syscall(SYS_newfstatat, AT_FDCWD, path, &st, 0) == 0;
    int truncates = there && (flags & O_TRUNC) && S_ISREG(st.st_mode);
    int fd = (int)syscall(SYS_openat, dir, path, truncates ? flags & ~O_TRUNC : flags, mode);
    int error = errno;
    if (fd >= 0) {
        follow(fd, path, !there);
        if (truncates && slot(fd)->kind == DATA_FILE) {
            keep(slot(fd), fd, 0, INT64_MAX);
            syscall(SYS_ftruncate, fd, 0);
        }
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

#define MODE                           \
    int mode = 0;                      \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list args;                  \
        va_start(args, flags);         \
        mode = va_arg(args, int);      \
        va_end(args);                  \
    }

int open(const char *path, int flags, ...) { MODE return opening(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opening(AT_FDCWD, path, flags, mode); }
int openat(int dir, const char *path, int flags, ...) { MODE return opening(dir, path, flags, mode); }
int openat64(int dir, const char *path, int flags, ...) { MODE return opening(dir, path, flags, mode); }

int close(int fd) {
    struct fd *s = slot(fd);
    if (s && s->kind != NOTHING) {
        pthread_mutex_lock(&lock);
        forget(fd);
        pthread_mutex_unlock(&lock);
    }
    return (int)syscall(SYS_close, fd);
}

/* Whether a write that ends at `end` finds no room. */
static int no_room(int fd, int64_t end) {
    struct stat st;
    return control && control[DISK_FULL] && fstat(fd, &st) == 0 && end > st.st_size;
}

static void slowly(void) {
    if (!control || control[DISK_SLOW] <= 0) return;
    struct timespec pause = {control[DISK_SLOW] / 1000000, (control[DISK_SLOW] % 1000000) * 1000};
    syscall(SYS_nanosleep, &pause, NULL);
}

static void wrote(struct fd *s) {
    if (s->observations) event('W', 0, NULL, 0);
}

static ssize_t pwriting(int fd, const void *bytes, size_t length, int64_t offset) {
    struct fd *s = slot(fd);
    if (!s || s->kind != DATA_FILE) return syscall(SYS_pwrite64, fd, bytes, length, offset);
    if (no_room(fd, offset + (int64_t)length)) {
        errno = ENOSPC;
        return -1;
    }
    if (s->lake) slowly();
    pthread_mutex_lock(&lock);
    keep(s, fd, offset, (int64_t)length);
    ssize_t n = syscall(SYS_pwrite64, fd, bytes, length, offset);
    int error = errno;
    wrote(s);
    pthread_mutex_unlock(&lock);
    errno = error;
    return n;
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwriting(fd, bytes, length, offset); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    return pwriting(fd, bytes, length, offset);
}

static int truncating(int fd, int64_t length) {
    struct fd *s = slot(fd);
    if (!s || s->kind != DATA_FILE) return (int)syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&lock);
    keep(s, fd, length, INT64_MAX);
    int n = (int)syscall(SYS_ftruncate, fd, length);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return n;
}
int ftruncate(int fd, off_t length) { return truncating(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncating(fd, length); }

static int syncing(int fd, long call) {
    struct fd *s = slot(fd);
    if (!s || (s->kind != DATA_FILE && s->kind != DATA_FOLDER)) return (int)syscall(call, fd);
    if (lies) return 0;
    slowly();
    pthread_mutex_lock(&lock);
    int n = (int)syscall(call, fd);
    int error = errno;
    if (n == 0 && s->kind == DATA_FILE) {
        if (syscall(SYS_ftruncate, s->undo, 0) != 0) die("undo log");
        if (s->observations) event('S', 0, NULL, 0);
    }
    if (n == 0 && s->kind == DATA_FOLDER) name("D %s\n", s->path);
    pthread_mutex_unlock(&lock);
    errno = error;
    return n;
}
int fsync(int fd) { return syncing(fd, SYS_fsync); }
int fdatasync(int fd) { return syncing(fd, SYS_fdatasync); }

/* ---- names ---- */

/* Keeps a file that is about to lose its name; its number, or 0 when there is none. */
static unsigned save(const char *path) {
    char linked[PATH_MAX + 64];
    snprintf(linked, sizeof linked, "%s/saved-%d-%u", undo, (int)getpid(), ++saved);
    return syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, linked, 0) == 0 ? saved : 0;
}

int rename(const char *from, const char *to) {
    if (!active || !is_ours(to)) return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    pthread_mutex_lock(&lock);
    unsigned kept = save(to);
    if (kept) name("R saved-%d-%u %s\t%s\n", (int)getpid(), kept, from, to);
    else name("R - %s\t%s\n", from, to);
    int n = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return n;
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    int n = (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
    int error = errno;
    if (n == 0 && active && is_ours(to)) {
        pthread_mutex_lock(&lock);
        name("C %s\n", to);
        pthread_mutex_unlock(&lock);
    }
    errno = error;
    return n;
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlink(const char *path) {
    if (!active || !is_ours(path)) return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    pthread_mutex_lock(&lock);
    unsigned kept = save(path);
    if (kept) name("U saved-%d-%u %s\n", (int)getpid(), kept, path);
    int n = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return n;
}

/* ---- connections ---- */

static int accepting(int listener, struct sockaddr *address, socklen_t *length, int flags) {
    int fd = (int)syscall(SYS_accept4, listener, address, length, flags);
    struct fd *s = slot(fd);
    if (active && s) {
        int error = errno;
        struct sockaddr_in local = {0};
        socklen_t size = sizeof local;
        getsockname(fd, (struct sockaddr *)&local, &size);
        uint16_t port = ntohs(local.sin_port);
        pthread_mutex_lock(&lock);
        forget(fd);
        s->connection = ++connections;
        s->kind = CONNECTION;
        event('C', s->connection, &port, 2);
        pthread_mutex_unlock(&lock);
        errno = error;
    }
    return fd;
}
int accept4(int listener, struct sockaddr *address, socklen_t *length, int flags) {
    return accepting(listener, address, length, flags);
}
int accept(int listener, struct sockaddr *address, socklen_t *length) {
    return accepting(listener, address, length, 0);
}

static ssize_t sending(int fd, const struct iovec *parts, int count, int flags, long call) {
    struct fd *s = slot(fd);
    struct msghdr message = {0};
    message.msg_iov = (struct iovec *)parts;
    message.msg_iovlen = (size_t)count;
    if (!s || s->kind != CONNECTION) {
        if (call == SYS_writev) return syscall(SYS_writev, fd, parts, count);
        return syscall(SYS_sendmsg, fd, &message, flags);
    }
    size_t length = 0;
    for (int i = 0; i < count; i++) length += parts[i].iov_len;
    char *whole = malloc(length ? length : 1);
    if (!whole) die("memory");
    size_t at = 0;
    for (int i = 0; i < count; i++) {
        memcpy(whole + at, parts[i].iov_base, parts[i].iov_len);
        at += parts[i].iov_len;
    }
    event('P', s->connection, whole, (uint32_t)length);
    free(whole);
    ssize_t n = syscall(SYS_sendmsg, fd, &message, flags);
    int error = errno;
    int32_t taken = n < 0 ? 0 : (int32_t)n;
    event('A', s->connection, &taken, 4);
    errno = error;
    return n;
}

ssize_t sendto(int fd, const void *bytes, size_t length, int flags, const struct sockaddr *to, socklen_t size) {
    struct fd *s = slot(fd);
    if (!s || s->kind != CONNECTION) return syscall(SYS_sendto, fd, bytes, length, flags, to, size);
    struct iovec part = {(void *)bytes, length};
    return sending(fd, &part, 1, flags, SYS_sendmsg);
}
ssize_t send(int fd, const void *bytes, size_t length, int flags) {
    return sendto(fd, bytes, length, flags, NULL, 0);
}
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    struct fd *s = slot(fd);
    if (!s || s->kind != CONNECTION) return syscall(SYS_sendmsg, fd, message, flags);
    return sending(fd, message->msg_iov, (int)message->msg_iovlen, flags, SYS_sendmsg);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    struct fd *s = slot(fd);
    if (!s || (s->kind != DATA_FILE && s->kind != CONNECTION)) return sys_write(fd, bytes, length);
    if (s->kind == CONNECTION) {
        struct iovec part = {(void *)bytes, length};
        return sending(fd, &part, 1, MSG_NOSIGNAL, SYS_sendmsg);
    }
    if (no_room(fd, position(fd) + (int64_t)length)) {
        errno = ENOSPC;
        return -1;
    }
    if (s->lake) slowly();
    pthread_mutex_lock(&lock);
    keep(s, fd, position(fd), (int64_t)length);
    ssize_t n = sys_write(fd, bytes, length);
    int error = errno;
    wrote(s);
    pthread_mutex_unlock(&lock);
    errno = error;
    return n;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    struct fd *s = slot(fd);
    if (!s || (s->kind != DATA_FILE && s->kind != CONNECTION)) return syscall(SYS_writev, fd, parts, count);
    if (s->kind == CONNECTION) return sending(fd, parts, count, MSG_NOSIGNAL, SYS_sendmsg);
    int64_t length = 0;
    for (int i = 0; i < count; i++) length += (int64_t)parts[i].iov_len;
    if (no_room(fd, position(fd) + length)) {
        errno = ENOSPC;
        return -1;
    }
    if (s->lake) slowly();
    pthread_mutex_lock(&lock);
    keep(s, fd, position(fd), length);
    ssize_t n = syscall(SYS_writev, fd, parts, count);
    int error = errno;
    wrote(s);
    pthread_mutex_unlock(&lock);
    errno = error;
    return n;
}

static void heard(int fd, const void *bytes, ssize_t n) {
    struct fd *s = slot(fd);
    if (n > 0 && s && s->kind == CONNECTION) event('R', s->connection, bytes, (uint32_t)n);
}
ssize_t recvfrom(int fd, void *bytes, size_t length, int flags, struct sockaddr *from, socklen_t *size) {
    ssize_t n = syscall(SYS_recvfrom, fd, bytes, length, flags, from, size);
    int error = errno;
    if (!(flags & MSG_PEEK)) heard(fd, bytes, n);
    errno = error;
    return n;
}
ssize_t recv(int fd, void *bytes, size_t length, int flags) {
    return recvfrom(fd, bytes, length, flags, NULL, NULL);
}
ssize_t read(int fd, void *bytes, size_t length) {
    ssize_t n = syscall(SYS_read, fd, bytes, length);
    int error = errno;
    heard(fd, bytes, n);
    errno = error;
    return n;
}

/* ---- the clock ---- */

int clock_gettime(clockid_t clock, struct timespec *now) {
    int n = (int)syscall(SYS_clock_gettime, clock, now);
    if (n == 0 && clock == CLOCK_REALTIME && control) {
        int64_t step = control[CLOCK_STEP], nanoseconds = now->tv_nsec + (step % 1000000) * 1000;
        now->tv_sec += step / 1000000;
        if (nanoseconds < 0) { nanoseconds += 1000000000; now->tv_sec -= 1; }
        if (nanoseconds >= 1000000000) { nanoseconds -= 1000000000; now->tv_sec += 1; }
        now->tv_nsec = nanoseconds;
    }
    return n;
}
