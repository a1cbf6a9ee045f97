/*
 * Takes user memory in known ways, tells page by page what it holds, and stays.
 *
 *   eat anon N HELD         touch N pages of anonymous memory
 *   eat locked N HELD       the same, with mlock
 *   eat file N HELD PATH    write N pages of a new file
 *   eat huge N              touch N huge pages of 2 MiB
 *   eat cma N               N pages of the contiguous memory allocator, through its DMA heap
 *   eat tasks N             N processes that wait
 *   eat all                 touch anonymous memory without end
 *
 * HELD gets a line per page, "WAY PFN 1", from /proc/self/pagemap, and "own PFN 1" for the process's other anonymous
 * memory. The command returns when the memory is taken; a
 * process in the background keeps it.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096UL
#define HUGE_PAGE (512 * PAGE)
/* Documentation/admin-guide/mm/pagemap.rst */
#define PFN_MASK ((1ULL << 55) - 1)
#define OF_A_FILE (1ULL << 61)
#define PRESENT (1ULL << 63)

static char *anonymous(unsigned long pages)
{
	char *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		err(1, "mmap");
	madvise(memory, pages * PAGE, MADV_NOHUGEPAGE);
	for (unsigned long i = 0; i < pages; i++)
		memory[i * PAGE] = 1;
	return memory;
}

static char *written_file(const char *path, unsigned long pages)
{
	static char page[PAGE];
	int file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);

	if (file < 0)
		err(1, "%s", path);
	memset(page, 1, sizeof(page));
	for (unsigned long i = 0; i < pages; i++)
		if (write(file, page, PAGE) != PAGE)
			err(1, "%s", path);
	char *memory = mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
	if (memory == MAP_FAILED)
		err(1, "mmap");
	return memory;
}

static void huge(unsigned long pages)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB;
	char *memory = mmap(NULL, pages * HUGE_PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);

	if (memory == MAP_FAILED)
		err(1, "mmap of huge pages");
	for (unsigned long i = 0; i < pages; i++)
		memory[i * HUGE_PAGE] = 1;
}

/* The default area's heap has one of two names. */
static void contiguous(unsigned long pages)
{
	struct dma_heap_allocation_data wanted = { .len = pages * PAGE, .fd_flags = O_RDWR | O_CLOEXEC };
	int heap = open("/dev/dma_heap/reserved", O_RDWR);

	if (heap < 0)
		heap = open("/dev/dma_heap/default_cma_region", O_RDWR);
	if (heap < 0 || ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &wanted))
		err(1, "dma heap");
}

static char lines[1 << 16];
static size_t filled;
static int held;

static void flush(void)
{
	if (write(held, lines, filled) != (ssize_t)filled)
		err(1, "write");
	filled = 0;
}

/* A line for each page of a stretch of memory that is there: of files, or of anonymous memory. */
static void tell_pages(const char *way, int pagemap, uintptr_t from, uintptr_t to, int of_a_file)
{
	for (; from < to; from += PAGE) {
		uint64_t entry;

		if (pread(pagemap, &entry, sizeof(entry), from / PAGE * sizeof(entry)) != sizeof(entry))
			return; /* vsyscall has no entry */
		if (!(entry & PRESENT) || !(entry & PFN_MASK) || !!(entry & OF_A_FILE) != of_a_file)
			continue;
		filled += sprintf(lines + filled, "%s %llu 1\n", way, (unsigned long long)(entry & PFN_MASK));
		if (filled > sizeof(lines) - 100)
			flush();
	}
}

/*
 * The pages asked for, then all other anonymous memory of the process, as "own". All buffers have been touched before:
 * what is told does not change by telling it.
 */
static void tell(const char *way, const char *memory, unsigned long pages, const char *path, int of_a_file)
{
	static char maps[1 << 14];
	int pagemap = open("/proc/self/pagemap", O_RDONLY), list = open("/proc/self/maps", O_RDONLY);
	uintptr_t from = (uintptr_t)memory, to = from + pages * PAGE;
	ssize_t got, length = 0;

	held = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (pagemap < 0 || list < 0 || held < 0)
		err(1, "%s", path);
	memset(lines, 1, sizeof(lines));
	memset(maps, 0, sizeof(maps));
	while ((got = read(list, maps + length, sizeof(maps) - 1 - length)) > 0)
		length += got;
	tell_pages(way, pagemap, from, to, of_a_file);
	for (char *line = maps; *line; line = strchr(line, '\n') + 1) {
		uintptr_t start = strtoul(line, &line, 16), end = strtoul(line + 1, &line, 16);

		if (start < from && end > to) {
			tell_pages("own", pagemap, start, from, 0);
			start = to;
		}
		if (start != from)
			tell_pages("own", pagemap, start, end, 0);
	}
	flush();
	close(held);
}

static void wait_for_ever(void)
{
	for (;;)
		pause();
}

static void take(int count, char **words)
{
	const char *way = words[1];
	unsigned long pages = count > 2 ? strtoul(words[2], NULL, 10) : 0;
	char *memory;

	if (!strcmp(way, "all")) {
		for (;;)
			anonymous(1024);
	} else if (!strcmp(way, "tasks")) {
		while (pages--)
			if (fork() == 0)
				wait_for_ever();
	} else if (!strcmp(way, "huge")) {
		huge(pages);
	} else if (!strcmp(way, "cma")) {
		contiguous(pages);
	} else if (!strcmp(way, "file") && count == 5) {
		memory = written_file(words[4], pages);
		tell(way, memory, pages, words[3], 1);
	} else if ((!strcmp(way, "anon") || !strcmp(way, "locked")) && count == 4) {
		memory = anonymous(pages);
		if (!strcmp(way, "locked") && mlock(memory, pages * PAGE))
			err(1, "mlock");
		tell(way, memory, pages, words[3], 0);
	} else {
		errx(2, "what is %s?", way);
	}
}

int main(int count, char **words)
{
	int ready[2];
	char byte = 0;

	if (count < 2 || pipe(ready))
		errx(2, "eat anon|locked N HELD, eat file N HELD PATH, eat huge|cma|tasks N, eat all");
	if (fork() == 0) {
		close(ready[0]);
		take(count, words);
		if (write(ready[1], &byte, 1) != 1)
			err(1, "pipe");
		wait_for_ever();
	}
	close(ready[1]);
	return read(ready[0], &byte, 1) == 1 ? 0 : 1;
}
