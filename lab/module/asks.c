// SPDX-License-Identifier: GPL-2.0
/*
 * Asks the page allocator at the edge of its watermarks, and tells what it said: the witness of attribution/oom/.
 *
 * /proc/asks: writing N puts N questions. Each is a kind of request, an order, and levels of free memory drawn for every
 * zone near what binds such a request; then, with interrupts off, the per-cpu lists drained and nobody else running, the
 * kernel's own show_mem() under a line in the form of warn_alloc(), and the answer: "asks: served from ZONE" or "asks:
 * refused". Nothing is reclaimed. One processor is a condition.
 *
 * The parameters `show_mem` and `drain` have to be the addresses of __show_mem() (show_mem() up to 5.19) and of
 * drain_local_pages() in kallsyms: neither is exported.
 */
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/vmstat.h>

static unsigned long show_mem_at, drain_at;
module_param_named(show_mem, show_mem_at, ulong, 0400);
module_param_named(drain, drain_at, ulong, 0400);

#define WITHOUT_RECLAIM (GFP_KERNEL & ~__GFP_RECLAIM)
#define ORDERS 5

static const struct kind {
	const char *name;
	gfp_t gfp_mask;
} kinds[] = {
	{ "plain", WITHOUT_RECLAIM | __GFP_NOMEMALLOC },
	{ "nowait", GFP_NOWAIT },
	{ "atomic", GFP_ATOMIC },
	{ "high", WITHOUT_RECLAIM | __GFP_HIGH | __GFP_NOMEMALLOC },
	{ "movable", (GFP_HIGHUSER_MOVABLE & ~__GFP_RECLAIM) | __GFP_NOMEMALLOC },
	{ "movable-nowait", GFP_HIGHUSER_MOVABLE & ~__GFP_DIRECT_RECLAIM },
	{ "reclaimable", GFP_ATOMIC | __GFP_RECLAIMABLE },
	{ "dma", GFP_DMA | GFP_NOWAIT },
	{ "dma-plain", GFP_DMA | WITHOUT_RECLAIM | __GFP_NOMEMALLOC },
	{ "dma32", GFP_DMA32 | GFP_ATOMIC },
};

static struct list_head held[MAX_NR_ZONES];

/* The same questions on every run. */
static u32 drawn(u32 below)
{
	static u32 state = 2463534242u;

	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return below ? state % below : 0;
}

static gfp_t zone_mask(int index)
{
#ifdef CONFIG_ZONE_DMA
	if (index == ZONE_DMA)
		return GFP_DMA;
#endif
#ifdef CONFIG_ZONE_DMA32
	if (index == ZONE_DMA32)
		return GFP_DMA32;
#endif
	return index == ZONE_MOVABLE ? __GFP_HIGHMEM | __GFP_MOVABLE : 0;
}

static long free_of(struct zone *zone, bool with_cma)
{
	return zone_page_state(zone, NR_FREE_PAGES) - (with_cma ? 0 : zone_page_state(zone, NR_FREE_CMA_PAGES));
}

/* One of the marks that decide, for a zone and a request: a part of `min`, and what is held back from a higher zone's. */
static long edge(struct zone *zone, int highest)
{
	static const u32 eighths[] = { 2, 3, 4, 5, 6, 8, 8, 8 };
	long mark = (long)min_wmark_pages(zone) * eighths[drawn(ARRAY_SIZE(eighths))] / 8;

	mark += zone->lowmem_reserve[highest];
	if (drawn(3) == 0)
		mark += zone->nr_reserved_highatomic;
	if (drawn(4) == 0)
		return drawn(mark + mark / 4 + 64);
	return max(0L, mark + (long)drawn(255) - 127);
}

static void give_back(int index, long wanted, bool with_cma)
{
	struct zone *zone = &NODE_DATA(0)->node_zones[index];

	while (!list_empty(&held[index]) && free_of(zone, with_cma) < wanted) {
		/* From either end, so that what is free comes to lie apart. */
		struct page *page = drawn(2) ? list_first_entry(&held[index], struct page, lru) :
					       list_last_entry(&held[index], struct page, lru);

		list_del(&page->lru);
		__free_pages(page, page_private(page));
	}
}

static void take_down_to(int index, long wanted, bool movable)
{
	struct zone *zone = &NODE_DATA(0)->node_zones[index];
	gfp_t mask = zone_mask(index) | __GFP_MEMALLOC | __GFP_NOWARN | (movable ? __GFP_MOVABLE : 0);

	while (free_of(zone, movable) > wanted) {
		unsigned int order = free_of(zone, movable) - wanted > 4096 ? 4 : drawn(ORDERS);
		struct page *page;

		while (order && free_of(zone, movable) - wanted < 1L << order)
			order--;
		page = alloc_pages(mask, order);
		if (!page && order)
			page = alloc_pages(mask, order = 0);
		if (!page)
			return;
		if (page_zone(page) != zone) {
			__free_pages(page, order);
			return;
		}
		set_page_private(page, order);
		list_add(&page->lru, &held[index]);
	}
}

static void drain(void)
{
	((void (*)(struct zone *))drain_at)(NULL);
}

static void ask(const struct kind *kind, unsigned int order)
{
	gfp_t mask = kind->gfp_mask | __GFP_NOWARN;
	struct page *page;
	unsigned long flags;

	local_irq_save(flags);
	drain();
	pr_warn("asks: %s\n", kind->name);
	pr_warn("%s: page allocation failure: order:%u, mode:%#x(%pGg), nodemask=(null)\n", current->comm, order, mask, &mask);
	((void (*)(unsigned int, nodemask_t *, int))show_mem_at)(0, NULL, MAX_NR_ZONES - 1);
	page = alloc_pages(mask, order);
	if (page) {
		pr_warn("asks: served from %s\n", page_zone(page)->name);
		__free_pages(page, order);
	} else {
		pr_warn("asks: refused\n");
	}
	drain();
	local_irq_restore(flags);
}

static ssize_t write_asks(struct file *file, const char __user *text, size_t length, loff_t *position)
{
	struct zone *zones = NODE_DATA(0)->node_zones;
	unsigned long count;
	int index, error = kstrtoul_from_user(text, length, 0, &count);

	if (error)
		return error;
	while (count--) {
		const struct kind *kind = &kinds[drawn(ARRAY_SIZE(kinds))];
		bool movable = drawn(3) == 0;
		unsigned int order = drawn(ORDERS);
		int highest = gfp_zone(kind->gfp_mask);

		preempt_disable();
		/* Upwards: a zone is only taken down as far as lower ones have nothing to give in its place. */
		for (index = 0; index < MAX_NR_ZONES; index++) {
			struct zone *zone = &zones[index];
			long wanted;

			if (!managed_zone(zone))
				continue;
			wanted = index < highest && drawn(4) ? drawn(min_wmark_pages(zone) / 4 + 1) : edge(zone, highest);
			give_back(index, wanted, movable);
			take_down_to(index, wanted, movable);
		}
		ask(kind, order);
		/* Room enough for whoever comes next. */
		for (index = 0; index < MAX_NR_ZONES; index++) {
			struct zone *zone = &zones[index];

			if (managed_zone(zone))
				give_back(index, 3 * (long)high_wmark_pages(zone) + 4096, false);
		}
		preempt_enable();
		cond_resched();
	}
	for (index = 0; index < MAX_NR_ZONES; index++)
		give_back(index, LONG_MAX, true);
	return length;
}

static const struct proc_ops asks_operations = {
	.proc_write = write_asks,
};

static int __init asks_init(void)
{
	int index;

	if (!show_mem_at || !drain_at || num_online_cpus() != 1)
		return -EINVAL;
	for (index = 0; index < MAX_NR_ZONES; index++)
		INIT_LIST_HEAD(&held[index]);
	return proc_create("asks", 0200, NULL, &asks_operations) ? 0 : -ENOMEM;
}
module_init(asks_init);

static void __exit asks_exit(void)
{
	remove_proc_entry("asks", NULL);
}
module_exit(asks_exit);

MODULE_DESCRIPTION("asks the page allocator at its edge");
MODULE_LICENSE("GPL");
