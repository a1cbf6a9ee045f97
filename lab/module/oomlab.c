// SPDX-License-Identifier: GPL-2.0
/*
 * Takes kernel memory in known ways, and tells page by page what it holds.
 *
 * /proc/oomlab/WAY: writing N takes N blocks that way and keeps them; reading takes blocks until none is left.
 * /proc/oomlab/churn: writing N takes and gives back N blocks of several orders. /proc/oomlab/interrupts: writing N takes and
 * gives back a page from an interrupt every N nanoseconds, until 0 is written. /proc/oomlab/unseen: as WAY, while the kernel
 * takes no stacks on that processor; the parameter `callchain_recursion` has to be that symbol's value in kallsyms.
 * /proc/oomlab/percpu: writing N takes N pieces of 16 KiB of each processor's memory.
 * /proc/oomlab/held: a line per block kept, "FUNCTION PFN PAGES": the function that asked for the memory, the first page
 * and how many pages (for an object of a slab cache: the whole slab it lies in, as often as objects lie in it).
 *
 * Each way is a function of its own, never inlined, so that its name stands in the allocation's stack.
 */
#include <linux/gfp.h>
#include <linux/hrtimer.h>
#include <linux/io.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/version.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 17, 0)
#define pde_data PDE_DATA
#endif

#define KEPT_OF_EIGHT 5
#define VMALLOC_PAGES 256
#define OBJECT_BYTES 1000
#define LARGE_PAGES 16
#define BULK_PAGES 8

/*
 * The caller's frame stays on the stack: no tail call. The line among the operands makes each caller a text of its own:
 * compilers merge functions that are equal, and then one name stands for several.
 */
#define RETURNED(expression)                                                                                           \
	({                                                                                                             \
		void *returned = (expression);                                                                         \
		asm volatile("" : "+r"(returned) : "i"(__LINE__));                                                     \
		returned;                                                                                              \
	})

/* The blocks kept are chained through their own first bytes: nothing else is allocated. */
struct block {
	struct block *next;
};

enum where { DIRECT, IN_BULK, EVERY_SECOND, IN_SLAB, IN_VMALLOC };

struct way {
	const char *name;
	const char *function;
	void *(*take)(void);
	enum where where;
	unsigned int pages;
	struct block *held;
};

static void *address_of(struct page *page)
{
	return page ? page_address(page) : NULL;
}

static noinline void *take_kmalloc(void)
{
	return RETURNED(kmalloc(2048, GFP_KERNEL));
}

static noinline void *take_page(void)
{
	return RETURNED(address_of(alloc_pages(GFP_KERNEL, 0)));
}

static noinline void *take_vmalloc(void)
{
	return RETURNED(vmalloc(VMALLOC_PAGES * PAGE_SIZE));
}

static struct kmem_cache *object_cache;

/* A constructor keeps the cache from being merged with others of its size. */
static void construct_object(void *object)
{
	memset(object, 0, OBJECT_BYTES);
}

static noinline void *take_object(void)
{
	return RETURNED(kmem_cache_alloc(object_cache, GFP_KERNEL));
}

/* Eight pages are taken, made single, and three of them given back. */
static noinline void *take_split(void)
{
	struct page *page = alloc_pages(GFP_KERNEL, 3);
	int i;

	if (!page)
		return NULL;
	split_page(page, 3);
	for (i = KEPT_OF_EIGHT; i < 8; i++)
		__free_page(page + i);
	return page_address(page);
}

static noinline void *take_exact(void)
{
	return RETURNED(alloc_pages_exact(KEPT_OF_EIGHT * PAGE_SIZE, GFP_KERNEL));
}

static noinline void *take_compound(void)
{
	return RETURNED(address_of(alloc_pages(GFP_KERNEL | __GFP_COMP, 4)));
}

static noinline void *take_high_order(void)
{
	return RETURNED(address_of(alloc_pages(GFP_KERNEL, 4)));
}

static noinline void *take_on_node_1(void)
{
	return RETURNED(address_of(alloc_pages_node(1, GFP_KERNEL | __GFP_THISNODE, 0)));
}

static noinline void *take_order_3(void)
{
	return RETURNED(address_of(alloc_pages(GFP_KERNEL, 3)));
}

static noinline void *take_order_4(void)
{
	return RETURNED(address_of(alloc_pages(GFP_KERNEL, 4)));
}

/* Every second page of eight is given back: what is free afterwards is free in single pages only. */
static noinline void *take_fragments(void)
{
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN, 3);
	int i;

	if (!page)
		return NULL;
	split_page(page, 3);
	for (i = 1; i < 8; i += 2)
		__free_page(page + i);
	return page_address(page);
}

/* One function that asks for memory, reached through 23 others. */
static noinline void *take_shared(void)
{
	return RETURNED(address_of(alloc_pages(GFP_KERNEL, 0)));
}

#define PATH(n)                                                                                                        \
	static noinline void *path_##n(void)                                                                           \
	{                                                                                                              \
		void *block = take_shared();                                                                           \
                                                                                                                       \
		asm volatile("" : "+r"(block) : "i"(n)); /* as above; all on one line */                               \
		return block;                                                                                          \
	}

PATH(0) PATH(1) PATH(2) PATH(3) PATH(4) PATH(5) PATH(6) PATH(7) PATH(8) PATH(9) PATH(10) PATH(11)
PATH(12) PATH(13) PATH(14) PATH(15) PATH(16) PATH(17) PATH(18) PATH(19) PATH(20) PATH(21) PATH(22)

static void *(*const paths[])(void) = {
	path_0,	 path_1,  path_2,  path_3,  path_4,  path_5,  path_6,  path_7,	path_8,	 path_9,  path_10, path_11,
	path_12, path_13, path_14, path_15, path_16, path_17, path_18, path_19, path_20, path_21, path_22,
};

static void *take_through_a_path(void)
{
	static unsigned int turn;

	return paths[turn++ % ARRAY_SIZE(paths)]();
}

static unsigned long callchain_recursion;
module_param(callchain_recursion, ulong, 0600);

/*
 * kernel/events/callchain.c takes no stack while it takes one in the same context. Here is what it keeps of that (int up to
 * 6.10, then u8; the first is the tasks'), set as if this were such a moment.
 */
static noinline void *take_unseen(void)
{
	struct page *page;
	u8 *taking;

	if (!callchain_recursion)
		return NULL;
	preempt_disable();
	taking = this_cpu_ptr((u8 __percpu *)callchain_recursion);
	*taking = 1;
	page = alloc_pages(GFP_ATOMIC, 0);
	*taking = 0;
	preempt_enable();
	return RETURNED(address_of(page));
}

/* A page from each context that has no task of its own: a work item, a kernel thread, a timer. */
static struct page *taken_elsewhere;
static DECLARE_COMPLETION(taken);

static noinline void take_in_work(struct work_struct *work)
{
	taken_elsewhere = RETURNED(alloc_pages(GFP_KERNEL, 0));
}

static DECLARE_WORK(work, take_in_work);

static void *take_by_work(void)
{
	schedule_work(&work);
	flush_work(&work);
	return address_of(taken_elsewhere);
}

static noinline int take_in_thread(void *nothing)
{
	taken_elsewhere = RETURNED(alloc_pages(GFP_KERNEL, 0));
	complete(&taken);
	return 0;
}

static void *take_by_thread(void)
{
	if (IS_ERR(kthread_run(take_in_thread, NULL, "oomlab_taker")))
		return NULL;
	wait_for_completion(&taken);
	return address_of(taken_elsewhere);
}

static noinline void take_in_timer(struct timer_list *timer)
{
	taken_elsewhere = RETURNED(alloc_pages(GFP_ATOMIC, 0));
	complete(&taken);
}

static DEFINE_TIMER(timer, take_in_timer);

static void *take_by_timer(void)
{
	mod_timer(&timer, jiffies);
	wait_for_completion(&taken);
	return address_of(taken_elsewhere);
}

/* Beyond the largest cache of kmalloc: pages of its own, and in no counter of slab. */
static noinline void *take_large(void)
{
	return RETURNED(kmalloc(LARGE_PAGES * PAGE_SIZE - 100, GFP_KERNEL));
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 14, 0)
#define bulk_of_pages alloc_pages_bulk
#else
#define bulk_of_pages alloc_pages_bulk_array
#endif

/* Several pages in one call; their addresses are kept in the first. */
static noinline void *take_bulk(void)
{
	struct page *pages[BULK_PAGES] = {};
	struct page **kept;

#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 13, 0)
	int call;

	/* With page_owner the kernel gives one page a call. */
	for (call = 0; call < BULK_PAGES && bulk_of_pages(GFP_KERNEL, BULK_PAGES, pages) < BULK_PAGES; call++)
		;
#endif
	if (!pages[BULK_PAGES - 1])
		return NULL;
	kept = page_address(pages[0]);
	memcpy(kept + 1, pages, sizeof(pages));
	return kept;
}

static struct way ways[] = {
	{ "kmalloc", "take_kmalloc", take_kmalloc, IN_SLAB },
	{ "page", "take_page", take_page, DIRECT, 1 },
	{ "vmalloc", "take_vmalloc", take_vmalloc, IN_VMALLOC, VMALLOC_PAGES },
	{ "object", "take_object", take_object, IN_SLAB },
	{ "split", "take_split", take_split, DIRECT, KEPT_OF_EIGHT },
	{ "exact", "take_exact", take_exact, DIRECT, KEPT_OF_EIGHT },
	{ "compound", "take_compound", take_compound, DIRECT, 16 },
	{ "high_order", "take_high_order", take_high_order, DIRECT, 16 },
	{ "on_node_1", "take_on_node_1", take_on_node_1, DIRECT, 1 },
	{ "order_3", "take_order_3", take_order_3, DIRECT, 8 },
	{ "order_4", "take_order_4", take_order_4, DIRECT, 16 },
	{ "fragments", "take_fragments", take_fragments, EVERY_SECOND, 8 },
	{ "unseen", "take_unseen", take_unseen, DIRECT, 1 },
	{ "work", "take_in_work", take_by_work, DIRECT, 1 },
	{ "thread", "take_in_thread", take_by_thread, DIRECT, 1 },
	{ "timer", "take_in_timer", take_by_timer, DIRECT, 1 },
	{ "large", "take_large", take_large, DIRECT, LARGE_PAGES },
	{ "bulk", "take_bulk", take_bulk, IN_BULK, BULK_PAGES },
	{ "paths", "take_shared", take_through_a_path, DIRECT, 1 },
};

static ssize_t write_way(struct file *file, const char __user *text, size_t length, loff_t *position)
{
	struct way *way = pde_data(file_inode(file));
	unsigned long count;
	int error = kstrtoul_from_user(text, length, 0, &count);

	if (error)
		return error;
	while (count--) {
		struct block *block = way->take();

		if (!block)
			return -ENOMEM;
		block->next = way->held;
		way->held = block;
	}
	return length;
}

static ssize_t read_way(struct file *file, char __user *text, size_t length, loff_t *position)
{
	struct way *way = pde_data(file_inode(file));

	while (way->take())
		;
	return 0;
}

/* Memory of each processor: writing N takes N pieces of 16 KiB, and keeps them without knowing them. */
static noinline void __percpu *take_percpu(void)
{
	void __percpu *memory = __alloc_percpu(16384, 64);

	asm volatile("" : "+r"(memory));
	return memory;
}

static ssize_t write_percpu(struct file *file, const char __user *text, size_t length, loff_t *position)
{
	unsigned long count;
	int error = kstrtoul_from_user(text, length, 0, &count);

	if (error)
		return error;
	while (count--)
		if (!take_percpu())
			return -ENOMEM;
	return length;
}

#define CHURNED_AT_ONCE 61

static noinline struct page *churn_one(unsigned int order)
{
	return RETURNED(alloc_pages(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN, order));
}

static noinline struct page *churn_other(unsigned int order)
{
	return RETURNED(alloc_pages(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN | __GFP_ZERO, order));
}

/* Several at once may do it: each has blocks of its own. */
static ssize_t write_churn(struct file *file, const char __user *text, size_t length, loff_t *position)
{
	struct page *blocks[CHURNED_AT_ONCE] = {};
	unsigned int orders[CHURNED_AT_ONCE] = {};
	unsigned long count, i;
	int error = kstrtoul_from_user(text, length, 0, &count);

	if (error)
		return error;
	for (i = 0; i < count + CHURNED_AT_ONCE; i++) {
		unsigned int at = i % CHURNED_AT_ONCE;

		if (blocks[at])
			__free_pages(blocks[at], orders[at]);
		orders[at] = i % 16 ? 0 : i / 16 % 4;
		blocks[at] = i >= count ? NULL : i % 3 ? churn_one(orders[at]) : churn_other(orders[at]);
		if (i % 256 == 0)
			cond_resched();
	}
	return length;
}

#define HELD_BY_INTERRUPTS 31

static struct hrtimer interrupts;
static u64 every_ns;
static struct page *of_interrupts[HELD_BY_INTERRUPTS];

static enum hrtimer_restart interrupt(struct hrtimer *timer)
{
	static unsigned int at;

	if (of_interrupts[at])
		__free_page(of_interrupts[at]);
	of_interrupts[at] = alloc_page(GFP_ATOMIC | __GFP_NOWARN);
	at = (at + 1) % HELD_BY_INTERRUPTS;
	hrtimer_forward_now(timer, ns_to_ktime(every_ns));
	return HRTIMER_RESTART;
}

static ssize_t write_interrupts(struct file *file, const char __user *text, size_t length, loff_t *position)
{
	u64 wanted;
	int error = kstrtoull_from_user(text, length, 0, &wanted);

	if (error)
		return error;
	hrtimer_cancel(&interrupts);
	every_ns = wanted;
	if (every_ns)
		hrtimer_start(&interrupts, ns_to_ktime(every_ns), HRTIMER_MODE_REL);
	return length;
}

static void show_block(struct seq_file *out, const struct way *way, void *block)
{
	struct page *head;
	int i;

	switch (way->where) {
	case DIRECT:
		seq_printf(out, "%s %lu %u\n", way->function, page_to_pfn(virt_to_page(block)), way->pages);
		break;
	case IN_BULK:
		for (i = 0; i < way->pages; i++)
			seq_printf(out, "%s %lu 1\n", way->function, page_to_pfn(((struct page **)block)[i + 1]));
		break;
	case EVERY_SECOND:
		for (i = 0; i < way->pages; i += 2)
			seq_printf(out, "%s %lu 1\n", way->function, page_to_pfn(virt_to_page(block)) + i);
		break;
	case IN_SLAB:
		head = virt_to_head_page(block);
		seq_printf(out, "%s %lu %lu\n", way->function, page_to_pfn(head), 1UL << compound_order(head));
		break;
	case IN_VMALLOC:
		for (i = 0; i < VMALLOC_PAGES; i++)
			seq_printf(out, "%s %lu 1\n", way->function, vmalloc_to_pfn(block + i * PAGE_SIZE));
		break;
	}
}

/* One way at a time and one block at a time, so that no buffer holds more than a line. */
static struct {
	struct way *way;
	struct block *block;
} cursor;

static void settle(void)
{
	while (!cursor.block && ++cursor.way < ways + ARRAY_SIZE(ways))
		cursor.block = cursor.way->held;
}

static void *held_start(struct seq_file *out, loff_t *position)
{
	if (*position == 0) {
		cursor.way = ways;
		cursor.block = ways->held;
		settle();
	}
	return cursor.block;
}

static void *held_next(struct seq_file *out, void *block, loff_t *position)
{
	++*position;
	cursor.block = cursor.block->next;
	settle();
	return cursor.block;
}

static void held_stop(struct seq_file *out, void *block)
{
}

static int held_show(struct seq_file *out, void *block)
{
	show_block(out, cursor.way, block);
	return 0;
}

static const struct seq_operations held_operations = {
	.start = held_start,
	.next = held_next,
	.stop = held_stop,
	.show = held_show,
};

static const struct proc_ops way_operations = {
	.proc_read = read_way,
	.proc_write = write_way,
};

static const struct proc_ops churn_operations = {
	.proc_write = write_churn,
};

static const struct proc_ops percpu_operations = {
	.proc_write = write_percpu,
};

static const struct proc_ops interrupts_operations = {
	.proc_write = write_interrupts,
};

static int __init oomlab_init(void)
{
	struct proc_dir_entry *folder = proc_mkdir("oomlab", NULL);
	int i;

	object_cache = kmem_cache_create("oomlab_object", OBJECT_BYTES, 0, 0, construct_object);
	if (!folder || !object_cache)
		return -ENOMEM;
	for (i = 0; i < ARRAY_SIZE(ways); i++)
		proc_create_data(ways[i].name, 0600, folder, &way_operations, &ways[i]);
	proc_create_seq("held", 0400, folder, &held_operations);
	proc_create("churn", 0200, folder, &churn_operations);
	proc_create("percpu", 0200, folder, &percpu_operations);
	proc_create("interrupts", 0200, folder, &interrupts_operations);
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
	hrtimer_init(&interrupts, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	interrupts.function = interrupt;
#else
	hrtimer_setup(&interrupts, interrupt, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#endif
	return 0;
}
module_init(oomlab_init);

/* What is held stays held, without an owner: a leak that outlives its module. A cache with objects in it stays, too. */
static void __exit oomlab_exit(void)
{
	hrtimer_cancel(&interrupts);
	remove_proc_subtree("oomlab", NULL);
	kmem_cache_destroy(object_cache);
}
module_exit(oomlab_exit);

MODULE_DESCRIPTION("takes kernel memory in known ways");
MODULE_LICENSE("GPL");
