/*
 * Has the kernel keep memory in the ways that programs leak it, and stays.
 *
 *   leak WAY N    N pages:   pipe, unix, udp, packet, perf, bpf, secret, memfd, sysv, mqueue, udmabuf
 *                 N objects: uring (rings), vma (areas), table (page tables), thread, netns, xattr and inode (files of /shm),
 *                            thp and hugetlb (pages of 2 MiB)
 *
 * The command returns when the memory is taken; a process in the background keeps it. Exit code 3: this kernel has no such
 * way.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/perf_event.h>
#include <linux/udmabuf.h>
#include <mqueue.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PAGE 4096UL
#define NO_SUCH_WAY 3
#define PIPE_PAGES 256UL
#define RING_PAGES 64UL
#define MAP_PAGES 97UL
#define XATTR_BYTES 60000
#define TABLE_BYTES (512 * PAGE)

static char page[PAGE];

static void no_such_way(const char *what)
{
	warn("%s", what);
	_exit(NO_SUCH_WAY);
}

static unsigned long least(unsigned long one, unsigned long other)
{
	return one < other ? one : other;
}

/* A page a write: a pipe keeps each in a page of its own (fs/pipe.c). */
static void pipes(unsigned long pages)
{
	while (pages) {
		unsigned long some = least(pages, PIPE_PAGES);
		int ends[2];

		if (pipe(ends) || fcntl(ends[1], F_SETPIPE_SZ, PIPE_PAGES * PAGE) < 0)
			err(1, "pipe");
		for (unsigned long i = 0; i < some; i++)
			if (write(ends[1], page, PAGE) != (ssize_t)PAGE)
				err(1, "pipe");
		pages -= some;
	}
}

/* Stream data beyond what fits a head are kept in pages (net/core/sock.c sock_alloc_send_pskb()). */
static void unix_sockets(unsigned long pages)
{
	static char text[8 * PAGE];

	while (pages) {
		unsigned long some = least(pages, 32);
		int ends[2], bytes = 1 << 20;

		if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
			err(1, "socketpair");
		setsockopt(ends[0], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
		for (unsigned long left = some; left;) {
			unsigned long now = least(left, 8);

			if (write(ends[0], text, now * PAGE) != (ssize_t)(now * PAGE))
				err(1, "unix socket");
			left -= now;
		}
		pages -= some;
	}
}

/* Datagrams that nobody receives. */
static void udp(unsigned long pages)
{
	static char text[8 * PAGE];
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int bytes = 1 << 30, in = socket(AF_INET, SOCK_DGRAM, 0), out = socket(AF_INET, SOCK_DGRAM, 0);
	socklen_t length = sizeof(to);

	if (in < 0 || out < 0 || bind(in, (struct sockaddr *)&to, length) || getsockname(in, (struct sockaddr *)&to, &length))
		err(1, "udp");
	setsockopt(in, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	for (; pages >= 7; pages -= 7)
		if (sendto(out, text, 7 * PAGE, 0, (struct sockaddr *)&to, length) < 0)
			err(1, "sendto");
}

static void packet_rings(unsigned long pages)
{
	struct tpacket_req ring = { .tp_block_size = PAGE, .tp_frame_size = 2048 };
	int socket_of_packets = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));

	ring.tp_block_nr = pages;
	ring.tp_frame_nr = pages * 2;
	if (socket_of_packets < 0)
		no_such_way("packet");
	if (setsockopt(socket_of_packets, SOL_PACKET, PACKET_RX_RING, &ring, sizeof(ring)))
		err(1, "packet ring");
}

static void perf_buffers(unsigned long pages)
{
	struct perf_event_attr event = { .type = PERF_TYPE_SOFTWARE, .size = sizeof(event), .config = PERF_COUNT_SW_DUMMY };

	for (; pages > RING_PAGES; pages -= RING_PAGES + 1) {
		int file = syscall(SYS_perf_event_open, &event, 0, -1, -1, 0);

		if (file < 0)
			no_such_way("perf_event_open");
		if (mmap(NULL, (RING_PAGES + 1) * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) == MAP_FAILED)
			err(1, "perf");
	}
}

static void uring(unsigned long rings)
{
	char parameters[120];

	while (rings--) {
		memset(parameters, 0, sizeof(parameters));
		if (syscall(425, 1024, parameters) < 0) /* io_uring_setup() */
			no_such_way("io_uring_setup");
	}
}

static void bpf_maps(unsigned long pages)
{
	while (pages) {
		unsigned long some = least(pages, MAP_PAGES);
		union bpf_attr map = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = PAGE };

		map.max_entries = some;
		if (syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof(map)) < 0)
			no_such_way("bpf");
		pages -= some;
	}
}

static void touched(int file, unsigned long pages)
{
	if (file < 0 || ftruncate(file, pages * PAGE))
		err(1, "a file in memory");
	char *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (memory == MAP_FAILED)
		err(1, "mmap");
	for (unsigned long i = 0; i < pages; i++)
		memory[i * PAGE] = 1;
}

static void secret(unsigned long pages)
{
	int file = syscall(447, 0); /* memfd_secret() */

	if (file < 0)
		no_such_way("memfd_secret");
	touched(file, pages);
}

static void sysv(unsigned long pages)
{
	int segment = shmget(IPC_PRIVATE, pages * PAGE, 0600);
	char *memory = segment < 0 ? (char *)-1 : shmat(segment, NULL, 0);

	if (memory == (char *)-1)
		err(1, "shm");
	for (unsigned long i = 0; i < pages; i++)
		memory[i * PAGE] = 1;
}

/* A page a message, its head beside (ipc/msgutil.c). */
static void queues(unsigned long pages)
{
	struct mq_attr wanted = { .mq_maxmsg = 64, .mq_msgsize = 4000 };

	for (int number = 0; pages; number++) {
		unsigned long some = least(pages, 64);
		char name[20];

		sprintf(name, "/leak%d", number);
		mqd_t queue = mq_open(name, O_RDWR | O_CREAT, 0600, &wanted);
		if (queue == (mqd_t)-1)
			no_such_way("mq_open");
		for (unsigned long i = 0; i < some; i++)
			if (mq_send(queue, page, 4000, 0))
				err(1, "mq_send");
		pages -= some;
	}
}

/* Every second page of a stretch is made read-only: each is an area of its own. */
static void areas(unsigned long count)
{
	char *memory = mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		err(1, "mmap");
	for (unsigned long i = 1; i < count; i += 2)
		if (mprotect(memory + i * PAGE, PAGE, PROT_READ))
			err(1, "mprotect");
}

/* A page read in each stretch that a table covers: it is the one of zeros, and costs the table alone. */
static void tables(unsigned long count)
{
	volatile char *memory =
		mmap(NULL, count * TABLE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		err(1, "mmap");
	madvise((void *)memory, count * TABLE_BYTES, MADV_NOHUGEPAGE);
	for (unsigned long i = 0; i < count; i++)
		(void)memory[i * TABLE_BYTES];
}

static void *waits(void *nothing)
{
	for (;;)
		pause();
	return nothing;
}

static void threads(unsigned long count)
{
	pthread_attr_t small;
	pthread_t thread;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 16 << 10);
	while (count--)
		if (pthread_create(&thread, &small, waits, NULL))
			errx(1, "pthread_create");
}

static void namespaces(unsigned long count)
{
	while (count--) {
		if (unshare(CLONE_NEWNET))
			no_such_way("unshare");
		if (open("/proc/self/ns/net", O_RDONLY) < 0)
			err(1, "ns/net");
	}
}

static void files(unsigned long count, int with_xattr)
{
	static char value[XATTR_BYTES];

	for (unsigned long i = 0; i < count; i++) {
		char path[40];

		sprintf(path, "/shm/%s%lu", with_xattr ? "x" : "f", i);
		int file = open(path, O_WRONLY | O_CREAT, 0600);
		if (file < 0)
			err(1, "%s", path);
		if (with_xattr && fsetxattr(file, "trusted.leak", value, sizeof(value), 0))
			no_such_way("fsetxattr");
		close(file);
	}
}

static void udmabufs(unsigned long pages)
{
	int device = open("/dev/udmabuf", O_RDWR), file = memfd_create("udmabuf", MFD_ALLOW_SEALING);
	struct udmabuf_create buffer = { .memfd = file, .flags = UDMABUF_FLAGS_CLOEXEC };

	if (device < 0)
		no_such_way("udmabuf");
	touched(file, pages);
	buffer.size = pages * PAGE;
	if (fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK) || ioctl(device, UDMABUF_CREATE, &buffer) < 0)
		err(1, "udmabuf");
}

static void transparent(unsigned long count)
{
	char *memory = mmap(NULL, (count + 1) * TABLE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		err(1, "mmap");
	memory = (char *)(((uintptr_t)memory + TABLE_BYTES - 1) / TABLE_BYTES * TABLE_BYTES);
	if (madvise(memory, count * TABLE_BYTES, MADV_HUGEPAGE))
		no_such_way("madvise");
	for (unsigned long i = 0; i < count * 512; i++)
		memory[i * PAGE] = 1;
}

static void pool(unsigned long count)
{
	FILE *file = fopen("/proc/sys/vm/nr_hugepages", "w");

	if (!file)
		no_such_way("nr_hugepages");
	fprintf(file, "%lu", count);
	if (fclose(file))
		err(1, "nr_hugepages");
}

static void take(const char *way, unsigned long count)
{
	if (!strcmp(way, "pipe"))
		pipes(count);
	else if (!strcmp(way, "unix"))
		unix_sockets(count);
	else if (!strcmp(way, "udp"))
		udp(count);
	else if (!strcmp(way, "packet"))
		packet_rings(count);
	else if (!strcmp(way, "perf"))
		perf_buffers(count);
	else if (!strcmp(way, "uring"))
		uring(count);
	else if (!strcmp(way, "bpf"))
		bpf_maps(count);
	else if (!strcmp(way, "secret"))
		secret(count);
	else if (!strcmp(way, "memfd"))
		touched(memfd_create("leak", 0), count);
	else if (!strcmp(way, "sysv"))
		sysv(count);
	else if (!strcmp(way, "mqueue"))
		queues(count);
	else if (!strcmp(way, "vma"))
		areas(count);
	else if (!strcmp(way, "table"))
		tables(count);
	else if (!strcmp(way, "thread"))
		threads(count);
	else if (!strcmp(way, "netns"))
		namespaces(count);
	else if (!strcmp(way, "xattr") || !strcmp(way, "inode"))
		files(count, way[0] == 'x');
	else if (!strcmp(way, "thp"))
		transparent(count);
	else if (!strcmp(way, "hugetlb"))
		pool(count);
	else if (!strcmp(way, "udmabuf"))
		udmabufs(count);
	else
		errx(2, "what is %s?", way);
}

int main(int count, char **words)
{
	struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY }, many = { 1 << 20, 1 << 20 };
	int ready[2], status;
	char byte = 0;
	pid_t child;

	if (count != 3 || pipe(ready))
		errx(2, "leak WAY N");
	setrlimit(RLIMIT_MEMLOCK, &none);
	setrlimit(RLIMIT_MSGQUEUE, &none);
	setrlimit(RLIMIT_NOFILE, &many);
	child = fork();
	if (child == 0) {
		close(ready[0]);
		take(words[1], strtoul(words[2], NULL, 10));
		if (write(ready[1], &byte, 1) != 1)
			err(1, "pipe");
		for (;;)
			pause();
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) == 1)
		return 0;
	return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
