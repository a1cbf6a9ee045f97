// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * When the kernel is about to die of an OOM: count the pages of every allocation stack that page_owner recorded, keep the
 * greatest in a map, and print them.
 *
 * Nothing here allocates, sleeps, takes a lock or goes round without a bound: the machine is dying. What could not be read
 * is counted and told.
 */
#include "kernel.h"
#include "culprits.h"
#include "owners.h"
#include "panic_report.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define STACKS 65536 /* that the walk over pages can tell apart */
#define CHUNK_PAGES 64
#define BLOCK_PAGES 512
#define TIME_EVERY 16
#define PART_FOR_NAMING 4 /* of the time that the walk may take */
#define TRIED_SECTIONS 8
#define ENTRIES 8
#define MOST_ENTRY_BYTES 128
#define SATURATED 0xc0000000u /* include/linux/refcount.h: what page_owner never counted on */
#define DEPOT_ALIGN_BITS 4 /* DEPOT_STACK_ALIGN */
#define NODE_BYTES 16 /* struct stack of mm/page_owner.c */
#define RECORD_HEAD_BYTES 48 /* struct stack_record up to its entries */
#define CHECK_CLOCK_EVERY 256
#define BETWEEN_KILLS_NS (60ULL * 1000000000ULL)
#define MANUAL_ORDER (-1) /* is_sysrq_oom() */
#define PANIC_AT_ANY_LIMIT 2 /* vm.panic_on_oom */

/* Set by the loader. */
const volatile struct {
	__u32 way;
	__u32 top;
	__u32 on_kill;
	__u32 page_shift;
	__u32 section_bits; /* SECTION_SIZE_BITS, which is a macro and in no type information */
	__u32 stride; /* look at one page of so many, a power of two */
	__u64 limit_ns;
} options SEC(".rodata.options");

/* mm/page_owner.c */
extern const void stack_list __ksym __weak;
extern const void early_handle __ksym __weak;
extern const void dummy_handle __ksym __weak;
extern const void failure_handle __ksym __weak;
extern const void page_owner_ops __ksym __weak;
/* mm/page_ext.c, mm/memory.c, mm/page_alloc.c, mm/vmstat.c, mm/oom_kill.c; mem_section is in owners.h */
extern const void page_ext_size __ksym __weak;
extern const void vm_zone_stat __ksym __weak;
extern const void max_pfn __ksym __weak;
extern const void sysctl_panic_on_oom __ksym __weak;
/* lib/stackdepot.c */
extern const void stack_slabs __ksym __weak;
extern const void stack_pools __ksym __weak;
extern const void stack_max_pools __ksym __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, REPORTS);
	__type(key, __u32);
	__type(value, struct report);
} oom_reports SEC(".maps");

/* Pages of a stack. Of one page in so many looked at: how many were its own in each block of neighbours, squared and added. */
struct count {
	__u64 pages;
	__u64 squares;
	__u64 block;
	__u64 in_block;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, STACKS);
	__type(key, __u32);
	__type(value, struct count);
} oom_counts SEC(".maps");

struct best {
	__u64 pages;
	__u64 record;
	__u64 variance;
	__u32 handle;
	__u32 reserved;
};

/* One report runs at a time, so what it works on is global. */
struct walk {
	__u64 began_ns;
	__u64 node; /* of stack_list */
	__u64 entries; /* the first page_ext entry of the section being read */
	__u64 entry_bytes;
	__u64 handle_at;
	__u64 sections;
	__u64 row; /* of STEPS sections */
	__u64 number; /* of the section being read */
	__u64 roots;
	__u64 block; /* of neighbours, where a part of the pages is looked at */
	__u64 run_pages; /* neighbours with one handle are looked up once */
	__u32 run_handle;
	__u32 early;
	__u32 dummy;
	__u32 failure;
	__u64 stacks;
	__u64 pages;
	__u64 walked_pages;
	__u64 early_pages;
	__u64 nameless_pages;
	__u64 lost_pages;
	__u64 unread_pages;
	__u64 older_pages;
	__u64 left_out_pages;
	__u64 plugged_pages;
	__u64 taken_pages;
	__u32 unread_stacks;
	__u32 stopped;
	struct best best[CONSUMERS];
};

struct state {
	__u32 busy;
	__u32 reports;
	__u32 panicked;
	__u32 reserved;
	__u64 last_kill_ns;
};

struct state state = {};
struct walk walk = {};
/* Some room more: the verifier sees that an offset is below a power of two, not that it is below the last entries. */
__u8 chunk[CHUNK_PAGES * MOST_ENTRY_BYTES + ENTRIES * MOST_ENTRY_BYTES] = {};

static __always_inline __u64 read_word(const void *at)
{
	__u64 word = 0;

	if (at)
		bpf_probe_read_kernel(&word, sizeof(word), at);
	return word;
}

static __always_inline __u32 read_int(const void *at)
{
	__u32 number = 0;

	if (at)
		bpf_probe_read_kernel(&number, sizeof(number), at);
	return number;
}

static __always_inline bool is_too_late(void)
{
	if (bpf_ktime_get_ns() - walk.began_ns > options.limit_ns)
		walk.stopped = 1;
	return walk.stopped != 0;
}

/* lib/stackdepot.c: the pool a handle points into, and the place in it. Older kernels number pools from 0. */
static __noinline __u64 record_of(__u32 handle)
{
	__u64 pools, pool, record;
	__u32 index, place;

	if (bpf_core_field_exists(union handle_parts___plus_one, pool_index_plus_1)) {
		union handle_parts___plus_one parts = { .handle = handle };
		index = BPF_CORE_READ_BITFIELD(&parts, pool_index_plus_1) - 1;
	} else if (bpf_core_field_exists(union handle_parts___pool, pool_index)) {
		union handle_parts___pool parts = { .handle = handle };
		index = BPF_CORE_READ_BITFIELD(&parts, pool_index);
	} else {
		union handle_parts___slab parts = { .handle = handle };
		index = BPF_CORE_READ_BITFIELD(&parts, slabindex);
	}
	{
		union handle_parts parts = { .handle = handle };
		place = BPF_CORE_READ_BITFIELD(&parts, offset);
	}
	pools = &stack_pools ? (__u64)&stack_pools : (__u64)&stack_slabs;
	if (&stack_max_pools) /* 6.17 and later: a pointer to the table */
		pools = read_word((void *)pools);
	pool = read_word((void *)(pools + 8ULL * index));
	record = pool + ((__u64)place << DEPOT_ALIGN_BITS);
	if (!pool || read_int(__builtin_preserve_access_index(&((struct stack_record *)record)->handle.handle)) != handle)
		return 0;
	return record;
}

/* The frames of a stack, into `frames`: by its record, by its handle, or by its slot in the table of owners. */
__noinline __u32 take_frames(__u64 at, __u32 handle)
{
	struct owned_stack *owned;
	struct stack_record *record;
	__u32 count;

	if (options.way == WAY_OWNERS) {
		owned = bpf_map_lookup_elem(&owned_stacks, &handle);
		if (!owned)
			return 0;
		bpf_probe_read_kernel(frames, sizeof(owned->frame), owned->frame);
		return owned->frames < OWNER_FRAMES ? owned->frames : OWNER_FRAMES;
	}
	if (!bpf_core_type_exists(struct stack_record))
		return 0; /* never: up to 6.7 the verifier looks at this on kernels without a stack depot, too */
	record = (void *)(at ?: record_of(handle));
	if (!record)
		return 0;
	count = read_int(__builtin_preserve_access_index(&record->size));
	if (count > FRAMES)
		count = FRAMES;
	if (bpf_probe_read_kernel(frames, count * sizeof(__u64), __builtin_preserve_access_index(&record->entries)))
		return 0;
	return count;
}

static __always_inline void find_culprit(__u64 pages, __u64 variance, __u64 record, __u32 handle)
{
	/* The clock costs as much as a stack of the list. Never the first one, which finds the caches cold. */
	bool is_timed = walk.stacks % TIME_EVERY == TIME_EVERY / 2;
	__u64 began_ns = is_timed ? bpf_ktime_get_ns() : 0;

	if (naming.took_ns > options.limit_ns / PART_FOR_NAMING)
		naming.lost_pages += pages;
	else
		add_culprit(pages, variance, take_frames(record, handle));
	if (is_timed)
		naming.took_ns += (bpf_ktime_get_ns() - began_ns) * TIME_EVERY;
}

/* Keep the greatest, in order; of equals the first seen stays before. */
__noinline int consider(__u64 pages, __u64 variance, __u64 record, __u32 handle)
{
	struct best *best = walk.best, fresh = { pages, record, variance, handle, 0 };

	walk.stacks++;
	walk.pages += pages;
	find_culprit(pages, variance, record, handle);
	if (pages <= best[CONSUMERS - 1].pages)
		return 0;
#pragma unroll
	for (int i = CONSUMERS - 1; i > 0; i--) {
		if (pages <= best[i - 1].pages) {
			best[i] = fresh;
			return 0;
		}
		best[i] = best[i - 1];
	}
	best[0] = fresh;
	return 0;
}

/* Way 1, 6.9 and later: page_owner itself counts the base pages of each stack and keeps a list of them. */

static long take_node(void *map, const __u32 *step, __u64 *unused, void *nothing)
{
	const __u32 record_at = bpf_core_field_offset(struct stack___page_owner, stack_record) / 8;
	const __u32 next_at = bpf_core_field_offset(struct stack___page_owner, next) / 8;
	const __u32 count_at = bpf_core_field_offset(struct stack_record, count) / 4;
	const __u32 handle_at = bpf_core_field_offset(struct stack_record, handle) / 4;
	__u32 head[RECORD_HEAD_BYTES / 4], count, handle;
	__u64 node[NODE_BYTES / 8], record;

	if (!walk.node || (*step % CHECK_CLOCK_EVERY == 0 && is_too_late()))
		return 1;
	if (record_at >= NODE_BYTES / 8 || next_at >= NODE_BYTES / 8 || count_at >= RECORD_HEAD_BYTES / 4 ||
	    handle_at >= RECORD_HEAD_BYTES / 4 || bpf_probe_read_kernel(node, sizeof(node), (void *)walk.node)) {
		walk.unread_stacks++;
		return 1;
	}
	record = node[record_at];
	walk.node = node[next_at];
	if (bpf_probe_read_kernel(head, sizeof(head), (void *)record)) {
		walk.unread_stacks++;
		return 0;
	}
	count = head[count_at];
	handle = head[handle_at];
	if (count <= 1 || count >= SATURATED)
		return 0;
	if (handle == walk.dummy || handle == walk.failure)
		walk.nameless_pages += count - 1;
	else
		consider(count - 1, 0, record, handle);
	return 0;
}

static long take_nodes(void *map, const __u32 *row, __u64 *unused, void *nothing)
{
	COUNT(take_node, NULL);
	return !walk.node || walk.stopped != 0;
}

static __always_inline void walk_stack_list(void)
{
	walk.node = read_word(&stack_list);
	COUNT(take_nodes, NULL);
	if (walk.node)
		walk.stopped = 1;
}

/* Way 2, the patch's own: every page has an entry that says which stack allocated it. */

/* Functions that are not static are verified once, by themselves, and not again for every call. */
__noinline int count_run(__u32 handle, __u64 pages)
{
	struct count *counted, fresh = { .pages = pages, .block = walk.block, .in_block = 1 };

	if (handle == walk.early) {
		walk.early_pages += pages;
		return 0;
	}
	if (handle == walk.dummy || handle == walk.failure) {
		walk.nameless_pages += pages;
		return 0;
	}
	counted = bpf_map_lookup_elem(&oom_counts, &handle);
	if (!counted) {
		if (bpf_map_update_elem(&oom_counts, &handle, &fresh, BPF_NOEXIST))
			walk.lost_pages += pages;
		return 0;
	}
	counted->pages += pages;
	if (counted->block != walk.block) {
		counted->squares += counted->in_block * counted->in_block;
		counted->block = walk.block;
		counted->in_block = 0;
	}
	counted->in_block++;
	return 0;
}

static __always_inline __u64 section_pages(void)
{
	return 1ULL << ((options.section_bits - options.page_shift) & 31);
}

/* A few entries of the chunk. Neighbours mostly have one owner: it is looked up when it changes. */
__noinline int take_entries(__u32 first)
{
	__u64 entry_bytes = walk.entry_bytes, handle_at = walk.handle_at, offset, allocated;
	const __u8 *entry;

	/* Up to 6.7 the verifier looks at this function on kernels without page_owner, too, where nobody calls it. */
	if (!bpf_core_enum_value_exists(enum page_ext_flags, PAGE_EXT_OWNER_ALLOCATED))
		return 1;
	allocated = 1ULL << bpf_core_enum_value(enum page_ext_flags, PAGE_EXT_OWNER_ALLOCATED);
	if (first > CHUNK_PAGES - ENTRIES || entry_bytes > MOST_ENTRY_BYTES ||
	    handle_at > MOST_ENTRY_BYTES - sizeof(__u32))
		return 1;
	offset = first * entry_bytes;
	/* Older verifiers lose the bounds of a product; the compiler, which does not, would drop a plain mask. */
	asm volatile("%0 &= %1" : "+r"(offset) : "i"(CHUNK_PAGES * MOST_ENTRY_BYTES - 1));
	entry = chunk + offset;
	for (__u32 k = 0; k < ENTRIES; k++, entry += entry_bytes) {
		__u32 handle;

		if (!(*(const __u64 *)entry & allocated))
			continue;
		handle = *(const __u32 *)(entry + handle_at);
		if (handle != walk.run_handle) {
			if (walk.run_pages)
				count_run(walk.run_handle, walk.run_pages);
			walk.run_handle = handle;
			walk.run_pages = 0;
		}
		walk.run_pages += handle != 0;
	}
	return 0;
}

static long take_chunk(void *map, const __u32 *step, __u64 *unused, void *nothing)
{
	__u64 bytes = CHUNK_PAGES * walk.entry_bytes;

	if (bytes > CHUNK_PAGES * MOST_ENTRY_BYTES || is_too_late())
		return 1;
	walk.walked_pages += CHUNK_PAGES;
	if (bpf_probe_read_kernel(chunk, bytes, (void *)(walk.entries + *step * bytes))) {
		walk.unread_pages += CHUNK_PAGES;
		return 0;
	}
	for (__u32 first = 0; first < CHUNK_PAGES; first += ENTRIES)
		take_entries(first);
	return (*step + 1) * CHUNK_PAGES >= section_pages();
}

/*
 * Of very much memory one page in each stride, drawn by chance. Pages come in clusters, which is to the good: of a block of
 * neighbours mostly all or none are one stack's.
 */
static long take_sample(void *map, const __u32 *step, __u64 *unused, void *nothing)
{
	__u64 first = (__u64)*step * options.stride, entry_bytes = walk.entry_bytes, handle_at = walk.handle_at, allocated;
	__u64 at = walk.entries + (first + (bpf_get_prandom_u32() & (options.stride - 1))) * entry_bytes, flags = 0;
	__u32 handle = 0;

	if (!bpf_core_enum_value_exists(enum page_ext_flags, PAGE_EXT_OWNER_ALLOCATED) ||
	    (*step % CHECK_CLOCK_EVERY == 0 && is_too_late()))
		return 1;
	allocated = 1ULL << bpf_core_enum_value(enum page_ext_flags, PAGE_EXT_OWNER_ALLOCATED);
	walk.walked_pages++;
	walk.block = walk.number * section_pages() + first / BLOCK_PAGES;
	if (bpf_probe_read_kernel(&flags, sizeof(flags), (void *)at) ||
	    bpf_probe_read_kernel(&handle, sizeof(handle), (void *)(at + handle_at)))
		walk.unread_pages += options.stride;
	else if (flags & allocated && handle)
		count_run(handle, options.stride);
	return first + options.stride >= section_pages();
}

/* 0 where a section has entries: walk.entries is the first one. */
static __noinline int find_entries(__u64 number)
{
	const __u64 size = bpf_core_type_size(struct mem_section);
	const __u64 per_root = (1ULL << (options.page_shift & 31)) / size;
	struct mem_section *section;
	__u64 root, entries = 0;

	if (!per_root)
		return 1;
	root = read_word((void *)(walk.roots + number / per_root * 8));
	if (!root)
		return 1;
	section = (void *)(root + number % per_root * size);
	if (!(read_word(__builtin_preserve_access_index(&section->section_mem_map)) & 1))
		return 1; /* SECTION_MARKED_PRESENT */
	entries = read_word(__builtin_preserve_access_index(&section->page_ext));
	if (!entries || entries & 1) { /* PAGE_EXT_INVALID: going offline */
		walk.unread_pages += section_pages();
		return 1;
	}
	/* The pointer is biased, so that a page's frame number finds its entry. */
	walk.entries = entries + number * section_pages() * walk.entry_bytes;
	return 0;
}

static long take_section(void *map, const __u32 *step, __u64 *unused, void *nothing)
{
	__u64 number = walk.row * STEPS + *step;

	if (walk.stopped || number >= walk.sections)
		return 1;
	walk.number = number;
	if (find_entries(number))
		return 0;
	if (options.stride > 1)
		COUNT(take_sample, NULL);
	else
		COUNT(take_chunk, NULL);
	return 0;
}

static long take_sections(void *map, const __u32 *row, __u64 *unused, void *nothing)
{
	walk.row = *row;
	COUNT(take_section, NULL);
	return walk.stopped || (walk.row + 1) * STEPS >= walk.sections;
}

/*
 * Of `drawn` pages in each block of neighbours, x were a stack's: the variance of x is estimated as if they had been drawn
 * from all of the block, not one from each stride, and is rather too large than too small for that.
 */
static __always_inline __u64 variance_of(struct count *count)
{
	__u64 drawn = BLOCK_PAGES / options.stride, stride = options.stride, all = count->pages / stride * drawn;
	__u64 squares = count->squares + count->in_block * count->in_block;

	return stride > 1 && drawn > 1 && all > squares ? (all - squares) / (drawn - 1) * stride * stride : 0;
}

static long take_count(void *map, const __u32 *handle, struct count *count, void *unused)
{
	consider(count->pages, variance_of(count), 0, *handle);
	return 0;
}

static long forget_count(void *map, const __u32 *handle, struct count *count, void *unused)
{
	bpf_map_delete_elem(map, handle);
	return 0;
}

static __always_inline void walk_pages(__u64 most_sections)
{
	struct page_ext_operations *ops = (void *)&page_owner_ops;

	walk.roots = read_word(&mem_section);
	walk.entry_bytes = read_word(&page_ext_size);
	walk.handle_at = read_word(__builtin_preserve_access_index(&ops->offset)) +
			 bpf_core_field_offset(struct page_owner, handle);
	walk.sections = (read_word(&max_pfn) + section_pages() - 1) / section_pages();
	if (most_sections && walk.sections > most_sections)
		walk.sections = most_sections;
	COUNT(take_sections, NULL);
	if (walk.run_pages)
		count_run(walk.run_handle, walk.run_pages);
}

/* Way 3, without page_owner: how many pages each stack has, by the programs of owners.h. */

static long take_slot(void *map, const __u32 *slot, struct owned_stack *stack, void *nothing)
{
	__u64 pages = 0, *counted;
	__u32 at = *slot;

	for (__u32 shard = 0; shard < MOST_SHARDS && shard < owner_options.shards; shard++) {
		counted = bpf_map_lookup_elem(&slot_pages, &at);
		pages += counted ? *counted : 0;
		at += owner_options.stacks;
	}
	if ((__s64)pages <= 0)
		return 0;
	if (*slot == SLOT_LEFT_OUT)
		walk.left_out_pages += pages;
	else if (*slot == SLOT_TABLE_FULL)
		walk.lost_pages += pages;
	else if (*slot == SLOT_NO_STACK)
		walk.nameless_pages += pages;
	else
		consider(pages, 0, 0, *slot);
	return 0;
}

static __always_inline void add_up_owners(void)
{
	__u64 owned, ram = read_word(&_totalram_pages);
	__u64 free = read_word((void *)((__u64)&vm_zone_stat + 8 * bpf_core_enum_value(enum zone_stat_item, NR_FREE_PAGES)));

	bpf_for_each_map_elem(&owned_stacks, take_slot, NULL, 0);
	owned = walk.pages + walk.left_out_pages + walk.lost_pages + walk.nameless_pages;
	if (ram > owner_state.ram_pages) {
		walk.plugged_pages = ram - owner_state.ram_pages;
	} else { /* what a balloon has taken is owned, and no RAM any more */
		walk.taken_pages = owner_state.ram_pages - ram;
		ram = owner_state.ram_pages;
	}
	walk.older_pages = ram > free + owned ? ram - free - owned : 0;
}

/*
 * 95 of 100 lie within two standard deviations; and where no block was seen in part, some may be: with three strides of pages
 * that nobody looked at, one page of them would have been drawn in 95 of 100.
 */
__noinline __u64 bound_of(__u64 variance)
{
	__u64 root = variance;

	if (options.stride <= 1)
		return 0;
	for (int i = 0; i < 64; i++) {
		__u64 next = root ? (root + variance / root) / 2 : 0;

		if (next >= root)
			break;
		root = next;
	}
	return 2 * (root + 1) + 3 * options.stride;
}

static long keep_consumer(void *map, const __u32 *step, __u64 *unused, struct report **kept)
{
	struct report *report = *kept;
	struct consumer *consumer;
	__u32 i = *step;

	if (i >= CONSUMERS || !report || !walk.best[i].pages)
		return 1;
	consumer = &report->consumer[i];
	consumer->pages = walk.best[i].pages;
	consumer->handle = walk.best[i].handle;
	consumer->frames = take_frames(walk.best[i].record, walk.best[i].handle);
	bpf_probe_read_kernel(consumer->frame, sizeof(consumer->frame), frames);
	consumer->bound_pages = bound_of(walk.best[i].variance);
	report->consumers = i + 1;
	return 0;
}

static __always_inline void keep_culprits(struct report *report)
{
#pragma unroll
	for (int i = 0; i < CULPRITS; i++) {
		report->culprit[i].pages = naming.greatest[i].pages;
		report->culprit[i].stacks = naming.greatest[i].stacks;
		report->culprit[i].frame = naming.greatest[i].address;
		report->culprit[i].bound_pages = bound_of(naming.greatest[i].variance);
	}
	report->later_pages = naming.later_pages;
	report->nameless_culprit_pages = naming.lost_pages;
	report->naming_ns = naming.took_ns;
}

/* More than three numbers in a line: bpf_trace_vprintk() came with 5.16. */
#define TELL(form, ...)                                                                                   \
	({                                                                                                \
		static const char its_form[] = form;                                                      \
		__u64 numbers[] = { __VA_ARGS__ };                                                        \
		bpf_snprintf(name, sizeof(name), its_form, numbers, sizeof(numbers));                     \
		bpf_printk("%s", name);                                                                   \
	})

struct printing {
	struct report *report;
	__u32 consumer;
	__u32 reserved;
};

static long print_frame(void *map, const __u32 *step, __u64 *unused, struct printing *printing)
{
	struct report *report = printing->report;
	__u32 number = printing->consumer, i = *step;

	if (!report || number >= CONSUMERS || i >= FRAMES || i >= report->consumer[number].frames)
		return 1;
	bpf_printk(" %pS", (void *)report->consumer[number].frame[i]);
	return 0;
}

static long print_consumer(void *map, const __u32 *step, __u64 *unused, struct printing *printing)
{
	struct report *report = printing->report;
	__u32 i = *step;

	if (!report || i >= options.top || i >= CONSUMERS || i >= report->consumers)
		return 1;
	if (i == 0)
		bpf_printk("OOM: greatest memory consumer: %llu pages are allocated from:", report->consumer[i].pages);
	else
		bpf_printk("OOM: memory consumer #%u: %llu pages are allocated from:", i + 1,
			   report->consumer[i].pages);
	if (!report->consumer[i].frames)
		bpf_printk("OOM: (handle %u: its stack cannot be read)", report->consumer[i].handle);
	printing->consumer = i;
	COUNT(print_frame, printing);
	return 0;
}

static __always_inline void print_culprits(struct report *report)
{
#pragma unroll
	for (int i = 0; i < CULPRITS; i++) {
		struct culprit *culprit = &report->culprit[i];

		if (!culprit->pages)
			break;
		if (i == 0)
			bpf_printk("OOM: greatest culprit: %llu pages by %ps through %llu stacks", culprit->pages,
				   (void *)culprit->frame, culprit->stacks);
		else
			bpf_printk("OOM: next culprit: %llu pages by %ps through %llu stacks", culprit->pages,
				   (void *)culprit->frame, culprit->stacks);
	}
	if (report->later_pages)
		bpf_printk("OOM: %llu pages by modules loaded since it was armed, whose helpers are not known",
			   report->later_pages);
	if (report->nameless_culprit_pages)
		bpf_printk("OOM: culprits of %llu pages are not counted", report->nameless_culprit_pages);
}

/* As tenths of a percent of RAM. */
static __always_inline __u64 tenths(struct report *report, __u64 pages)
{
	return report->ram_pages ? pages * 1000 / report->ram_pages : 0;
}

/* Whatever was not counted, or is no culprit's, may be the second one's. */
static __always_inline bool is_surely_greatest(struct report *report)
{
	struct culprit *first = &report->culprit[0], *second = &report->culprit[1];

	return first->pages > second->pages + first->bound_pages + second->bound_pages + report->nameless_culprit_pages +
				      report->lost_pages + report->unread_pages;
}

static __always_inline void print_error(struct report *report)
{
	struct culprit *first = &report->culprit[0];
	__u64 share = tenths(report, first->pages), bound = tenths(report, first->bound_pages) + 1;

	TELL("OOM: 1 of %llu pages looked at: the greatest culprit holds %llu.%llu %% +- %llu.%llu %% of RAM", report->stride,
	     share / 10, share % 10, bound / 10, bound % 10);
	if (is_surely_greatest(report))
		bpf_printk("OOM: it is surely the greatest; pages may be off by %llu", first->bound_pages);
	else
		bpf_printk("OOM: it is not surely the greatest; pages may be off by %llu", first->bound_pages);
}

static __always_inline void print_report(struct report *report)
{
	struct printing printing = { .report = report };
	__u64 not_counted = report->early_pages + report->nameless_pages + report->lost_pages + report->unread_pages +
			    report->older_pages + report->left_out_pages;

	COUNT(print_consumer, &printing);
	print_culprits(report);
	if (report->stride > 1 && report->culprit[0].pages)
		print_error(report);
	TELL("OOM: %llu stacks hold %llu of %llu pages; %llu pages not counted", report->stacks, report->pages,
	     report->ram_pages, not_counted);
	if (options.way == WAY_OWNERS) {
		bpf_printk("OOM: tracked since %llu.%06llu s; %llu pages were allocated before that", report->since_ns / 1000000000,
			   report->since_ns % 1000000000 / 1000, report->older_pages);
		if (report->plugged_pages)
			bpf_printk("OOM: or later, in the %llu pages of RAM that were plugged in since", report->plugged_pages);
		if (report->taken_pages)
			bpf_printk("OOM: %llu pages of RAM were taken away since, by whom stands among the stacks", report->taken_pages);
		bpf_printk("OOM: not counted: %llu user memory, %llu without a stack, %llu beyond the table",
			   report->left_out_pages, report->nameless_pages, report->lost_pages);
	} else if (not_counted)
		TELL("OOM: not counted: %llu early, %llu without a stack, %llu beyond the table, %llu unread",
		     report->early_pages, report->nameless_pages, report->lost_pages, report->unread_pages);
	if (report->unread_stacks)
		bpf_printk("OOM: %u stacks cannot be read", report->unread_stacks);
	if (report->way == WAY_PAGES)
		bpf_printk("OOM: walked %llu pages in %llu us, %llu us of them for culprits", report->walked_pages,
			   report->took_ns / 1000, report->naming_ns / 1000);
	else
		bpf_printk("OOM: walked %llu stacks in %llu us, %llu us of them for culprits", report->stacks,
			   report->took_ns / 1000, report->naming_ns / 1000);
	if (report->stopped)
		bpf_printk("OOM: stopped after %llu ms: the numbers are too small", report->took_ns / 1000000);
}

static __always_inline void report_now(__u32 cause)
{
	__u32 slot = state.reports % REPORTS;
	struct report *report = bpf_map_lookup_elem(&oom_reports, &slot);

	if (!report)
		return;
	__builtin_memset(&walk, 0, sizeof(walk));
	forget_culprits();
	walk.began_ns = bpf_ktime_get_ns();
	walk.early = read_int(&early_handle);
	walk.dummy = read_int(&dummy_handle);
	walk.failure = read_int(&failure_handle);
	if (options.way == WAY_OWNERS) {
		add_up_owners();
	} else if (options.way == WAY_STACK_LIST) {
		walk_stack_list();
	} else {
		walk_pages(0);
		bpf_for_each_map_elem(&oom_counts, take_count, NULL, 0);
	}
	report->magic = 0;
	report->cause = cause;
	report->way = options.way;
	report->at_ns = walk.began_ns;
	report->stacks = walk.stacks;
	report->pages = walk.pages;
	report->ram_pages = read_word(&_totalram_pages);
	report->walked_pages = walk.walked_pages;
	report->early_pages = walk.early_pages;
	report->nameless_pages = walk.nameless_pages;
	report->lost_pages = walk.lost_pages;
	report->unread_pages = walk.unread_pages;
	report->older_pages = walk.older_pages;
	report->left_out_pages = walk.left_out_pages;
	report->plugged_pages = walk.plugged_pages;
	report->taken_pages = walk.taken_pages;
	report->since_ns = owner_state.since_ns;
	report->unread_stacks = walk.unread_stacks;
	report->stopped = walk.stopped;
	report->stride = options.stride;
	report->consumers = 0;
	COUNT(keep_consumer, &report);
	name_culprits();
	keep_culprits(report);
	report->took_ns = bpf_ktime_get_ns() - walk.began_ns;
	report->magic = REPORT_MAGIC; /* whole from here on */
	state.reports++;
	print_report(report);
	if (options.way == WAY_PAGES && cause == CAUSE_KILL)
		bpf_for_each_map_elem(&oom_counts, forget_count, NULL, 0);
}

/* Processors that meet here: the first one reports, the others go on. */
static __always_inline void report_once(__u32 cause)
{
	if (__sync_val_compare_and_swap(&state.busy, 0, 1))
		return;
	report_now(cause);
	if (cause == CAUSE_KILL)
		__sync_val_compare_and_swap(&state.busy, 1, 0);
}

/*
 * mm/oom_kill.c dump_header(): called before every kill and before each of the two panics. A victim is chosen before a kill
 * only. Asked for by SysRq, or within a cgroup, nobody panics; unless vm.panic_on_oom is 2, for the cgroup.
 */
SEC("kprobe")
int at_dump_header(void *ctx)
{
	struct oom_control *oc = FIRST_ARGUMENT(ctx);
	void *chosen = NULL, *memcg = NULL;
	int order = MANUAL_ORDER;
	__u64 now_ns;

	if (bpf_core_read(&chosen, sizeof(chosen), &oc->chosen) || bpf_core_read(&order, sizeof(order), &oc->order))
		return 0;
	if (bpf_core_field_exists(oc->memcg))
		bpf_core_read(&memcg, sizeof(memcg), &oc->memcg);
	if (order == MANUAL_ORDER)
		return 0;
	if (chosen) {
		now_ns = bpf_ktime_get_ns();
		if (!options.on_kill || memcg || (state.last_kill_ns && now_ns - state.last_kill_ns < BETWEEN_KILLS_NS))
			return 0;
		state.last_kill_ns = now_ns;
		report_once(CAUSE_KILL);
		return 0;
	}
	if (memcg && read_int(&sysctl_panic_on_oom) != PANIC_AT_ANY_LIMIT)
		return 0;
	report_once(CAUSE_PANIC);
	return 0;
}

/* Run by the loader: how long the walk takes for 4,096 pages, in nanoseconds, by the first sections. */
SEC("raw_tp")
int try_walk(void *ctx)
{
	__builtin_memset(&walk, 0, sizeof(walk));
	walk.began_ns = bpf_ktime_get_ns();
	walk_pages(TRIED_SECTIONS);
	bpf_for_each_map_elem(&oom_counts, forget_count, NULL, 0);
	return walk.walked_pages ? (bpf_ktime_get_ns() - walk.began_ns) * 4096 / walk.walked_pages : 0;
}

/* Eight letters as they lie in memory. */
#define WORD(a, b, c, d, e, f, g, h)                                                                                 \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 | (__u64)(f) << 40 | \
	 (__u64)(g) << 48 | (__u64)(h) << 56)

/* kernel/panic.c panic(), where dump_header() is no function of its own: known by the two messages of mm/oom_kill.c. */
SEC("kprobe")
int at_panic(void *ctx)
{
	const __u64 deadlocked = WORD('S', 'y', 's', 't', 'e', 'm', ' ', 'i');
	const __u64 out_of_memory = WORD('O', 'u', 't', ' ', 'o', 'f', ' ', 'm');
	__u64 message = read_word(FIRST_ARGUMENT(ctx));

	if (message == deadlocked || message == out_of_memory)
		report_once(CAUSE_PANIC);
	return 0;
}
