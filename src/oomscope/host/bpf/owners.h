/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Who owns each page, kept by the programs here: no page_owner is needed. Every base page has four bytes: the slot of the
 * stack that allocated it, and about when. A page that is free, or that was allocated before, has 0.
 *
 * page_owner records in post_alloc_hook(), which nothing can be attached to (it is `inline`, and so `notrace`). The ways
 * there are taken one by one: the tracepoint mm_page_alloc for the allocator itself, and the ends of alloc_pages_bulk(),
 * compaction_alloc() and alloc_contig_range(). All ways back pass the tracepoint mm_page_free. A migrated folio's owners
 * change places with its target's, as page_owner does it.
 *
 * A page between its allocation and its free belongs to one holder: its entry needs no lock. Events that happen inside
 * these programs (an interrupt's) are passed over by the kernel; what was missed heals when the page is allocated again.
 */
#ifndef OOMSCOPE_OWNERS_H
#define OOMSCOPE_OWNERS_H

#include "kernel.h"
#include "owners_layout.h"

#define PROBES 16
#define MOST_ALLOCATORS 8
#define MOST_OWN_FRAMES 8 /* of programs and trampolines, above the allocator's */
#define FRAMES_OF_TRACING 2
#define OFFSET_BASIS 14695981039346656037ULL /* FNV-1a, a frame at a time */
#define PRIME 1099511628211ULL
#define GFP_MOVABLE 0x08u /* ___GFP_MOVABLE: user memory and page cache, which the OOM report itself names */
#define OWNERS_PER_STEP 16
#define COMPACTION_ARGUMENTS 2
#define SECTION_FLAGS 4096 /* the low bits of section_mem_map; a map of pages begins at a page */

/* Set by the loader. */
const volatile struct {
	__u32 stacks; /* a power of two */
	__u32 blocks; /* that the table of owners has */
	__u32 kernel_only;
	__u32 page_shift;
	__u32 sections; /* that memory may have */
	__u32 allocators;
	__u32 shards; /* of counts, a power of two */
	__u32 bulk_arguments; /* of alloc_pages_bulk() in this kernel */
	__u32 contig_arguments; /* of alloc_contig_range() */
	__u32 reserved;
	struct {
		__u64 start;
		__u64 end;
	} allocator[MOST_ALLOCATORS]; /* the functions in which an allocation's stack begins */
	__u64 text_start; /* the kernel's own code, modules and programs excepted */
	__u64 text_end;
} owner_options SEC(".rodata.owners");

struct owner_state owner_state SEC(".data.owners") = {};

/*
 * 0, which the verifier does not know. It takes bpf_get_stack() of a raw tracepoint for one that only reads its buffer
 * (kernel/trace/bpf_trace.c, MEM_RDONLY), and from 6.14 to 6.17 believes that what stood there before still does: of a
 * buffer of zeros it knows every branch, and removes them.
 */
volatile __u64 unknown_zero = 0;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct owned_stack);
} owned_stacks SEC(".maps");

/* Blocks of pages by their number, so that holes between them cost nothing: 1 + the place in `owners`, or 0. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} owner_places SEC(".maps");

struct owner_block {
	__u32 owner[OWNER_BLOCK_PAGES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct owner_block);
} page_owners SEC(".maps");

struct counters_of_all {
	struct owner_counters by[OWNER_WRITERS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters_of_all);
} owner_counters SEC(".maps");

static __always_inline struct owner_counters *counters(enum owner_writer writer)
{
	__u32 only = 0;
	struct counters_of_all *all = bpf_map_lookup_elem(&owner_counters, &only);

	return all ? &all->by[writer] : NULL;
}

static __always_inline __u64 pfn_of(__u64 page)
{
	const __u64 bytes = bpf_core_type_size(struct page);
	__u64 offset = page - owner_state.vmemmap;

	return bytes == 64 ? offset >> 6 : offset / bytes;
}

/* A page's four bytes; none where the table does not reach, as for memory that was plugged in later. */
static __always_inline __u32 *owner_of(__u64 pfn)
{
	__u64 wide = pfn >> OWNER_BLOCK_SHIFT;
	__u32 number = wide, place;
	struct owner_block *block;
	__u64 *at;

	if (wide != number)
		return NULL;
	at = bpf_map_lookup_elem(&owner_places, &number);
	if (!at || !*at)
		return NULL;
	place = *at - 1;
	block = bpf_map_lookup_elem(&page_owners, &place);
	return block ? &block->owner[pfn & (OWNER_BLOCK_PAGES - 1)] : NULL;
}

/*
 * About when, in 16 bits: steps of about a second for nine hours, then 256 of them each. Jiffies, because no other clock is
 * as cheap, and the coarse one is not for tracing programs; the loader finds out how long one lasts.
 */
static __always_inline __u32 time_code(void)
{
	__u64 now = bpf_jiffies64(), since = owner_state.since_jiffies, steps;

	steps = now > since ? (now - since) >> (owner_state.step_shift & 31) : 0;
	if (steps >= OWNER_FINE_STEPS)
		steps = OWNER_FINE_STEPS + ((steps - OWNER_FINE_STEPS) >> OWNER_COARSE_SHIFT);
	return steps < OWNER_LAST_STEP ? steps : OWNER_LAST_STEP;
}

static __always_inline bool is_allocator(__u64 address)
{
	for (__u32 i = 0; i < MOST_ALLOCATORS && i < owner_options.allocators; i++) {
		if (address >= owner_options.allocator[i].start && address < owner_options.allocator[i].end)
			return 1;
	}
	return 0;
}

static __always_inline bool is_core_text(__u64 address)
{
	return address >= owner_options.text_start && address < owner_options.text_end;
}

/*
 * Whether a stack is taken from where it should be: from the allocator's function. One that has jumped to a trampoline
 * (CONFIG_DYNAMIC_FTRACE_WITH_JMP, 7.2 and later) has left no frame: its caller's comes next after the trampoline's.
 */
static __always_inline bool is_beginning(__u64 address, __u32 hook)
{
	return is_allocator(address) || (hook != HOOK_ALLOC && is_core_text(address));
}

/* How many frames stand above the allocator's: they differ from hook to hook, and change when others trace there, too. */
static __always_inline void count_own_frames(void *ctx, __u32 hook)
{
	__u64 frame[MOST_OWN_FRAMES];
	__u32 own = 0;

	for (__u32 i = 0; i < MOST_OWN_FRAMES; i++)
		frame[i] = unknown_zero;
	if (bpf_get_stack(ctx, frame, sizeof(frame), 0) < 0)
		return;
	for (__u32 i = 0; i < MOST_OWN_FRAMES; i++) {
		if (is_allocator(frame[i])) {
			owner_state.own_frames[hook] = i;
			return;
		}
	}
	/* The program and the trampoline, which is all that can be known without the allocator's frame. */
	for (__u32 i = 0; i < FRAMES_OF_TRACING && own == i; i++)
		own += !is_core_text(frame[i]);
	owner_state.own_frames[hook] = own;
}

/* The slot of the stack that leads here, a new one if need be; what cannot have one of its own is counted. */
static __always_inline __u32 slot_of_stack(void *ctx, __u32 hook, struct owner_counters *counted)
{
	__u64 frame[OWNER_FRAMES], hash = OFFSET_BASIS, seen, differ;
	struct owned_stack *stack;
	__u32 frames, slot;
	long bytes;

#pragma unroll
	for (int i = 0; i < OWNER_FRAMES; i++)
		frame[i] = unknown_zero;
	bytes = bpf_get_stack(ctx, frame, sizeof(frame), owner_state.own_frames[hook] & 0xff);
	if (bytes >= (long)sizeof(__u64) && !is_beginning(frame[0], hook)) {
		count_own_frames(ctx, hook);
		bytes = bpf_get_stack(ctx, frame, sizeof(frame), owner_state.own_frames[hook] & 0xff);
	}
	if (bytes < (long)sizeof(__u64)) {
		counted->without_stack++;
		return SLOT_NO_STACK;
	}
	frames = bytes / sizeof(__u64);
#pragma unroll
	for (int i = 0; i < OWNER_FRAMES; i++)
		hash = (hash ^ frame[i]) * PRIME;
	hash |= 1; /* 0 is a free slot */
	for (__u32 probe = 0; probe < PROBES; probe++) {
		slot = ((__u32)(hash >> 32) + probe) & (owner_options.stacks - 1);
		stack = slot < FIRST_SLOT ? NULL : bpf_map_lookup_elem(&owned_stacks, &slot);
		if (!stack)
			continue;
		seen = stack->hash;
		if (!seen) {
			seen = __sync_val_compare_and_swap(&stack->hash, 0, hash);
			if (!seen) {
				stack->first_ns = bpf_ktime_get_ns();
				__builtin_memcpy(stack->frame, frame, sizeof(frame));
				/* Whole from here on, for other processors too. */
				__sync_val_compare_and_swap(&stack->frames, 0, frames);
				counted->stacks++;
				return slot;
			}
		}
		if (seen != hash)
			continue;
		if (!*(volatile __u64 *)&stack->frames) { /* somebody is writing it: another slot will do, and frames tell */
			counted->slot_races++;
			continue;
		}
		differ = 0;
#pragma unroll
		for (int i = 0; i < OWNER_FRAMES; i++)
			differ |= stack->frame[i] ^ frame[i];
		if (!differ)
			return slot;
		counted->collisions++;
	}
	counted->beyond_stacks++;
	return SLOT_TABLE_FULL;
}

/*
 * How many pages each slot has, kept while they come and go, so that a panic needs no walk. Each processor adds to one of
 * several shards: a stack that all of them allocate from would have them wait for each other. A shard alone may be below 0.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} slot_pages SEC(".maps");

static __always_inline void count_pages(__u32 slot, __u64 pages)
{
	__u32 shard = bpf_get_smp_processor_id() & (owner_options.shards - 1), at = shard * owner_options.stacks + slot;
	__u64 *counted = pages && slot != SLOT_NONE ? bpf_map_lookup_elem(&slot_pages, &at) : NULL;

	if (counted)
		__sync_fetch_and_add(counted, pages);
}

/* Pages that get an owner, or lose theirs, a run of those that had one owner at a time. */
struct owning {
	__u64 pfn;
	__u64 pages;
	__u64 seen; /* pages that were owned before */
	__u64 untracked;
	__u64 run;
	__u32 run_slot;
	__u32 owner;
};

static __always_inline void end_run(struct owning *owning)
{
	count_pages(owning->run_slot, -owning->run);
	owning->run = unknown_zero;
}

/*
 * Not static, so that it is verified once, by itself: within a loop, 7.2's and later verifiers followed each way that a page
 * may take, for each page before it, until they gave up.
 */
__noinline int own_page(__u64 pfn, struct owning *owning)
{
	__u32 *owner = owner_of(pfn), before;

	if (!owning)
		return 0; /* never: the verifier asks */
	if (!owner) {
		owning->untracked++;
		return 0;
	}
	before = *owner;
	*owner = owning->owner;
	if (!before)
		return 0;
	owning->seen++;
	if (before >> 16 != owning->run_slot) {
		end_run(owning);
		owning->run_slot = before >> 16;
	}
	owning->run++;
	return 0;
}

static long own_some(void *map, const __u32 *step, __u64 *unused, struct owning *owning)
{
	__u64 first = (__u64)*step * OWNERS_PER_STEP;

	for (__u32 k = 0; k < OWNERS_PER_STEP && first + k < owning->pages; k++)
		own_page(owning->pfn + first + k, owning);
	return first + OWNERS_PER_STEP >= owning->pages;
}

/* What a callback works on is no constant to begin with: the verifier would follow each number that it may come to. */
static __always_inline void own_pages(struct owning *owning)
{
	owning->seen = owning->untracked = owning->run = owning->run_slot = unknown_zero;
	if (owning->pages == 1)
		own_page(owning->pfn, owning);
	else
		COUNT(own_some, owning);
	if (owning->pages > (__u64)STEPS * OWNERS_PER_STEP)
		owning->untracked += owning->pages - (__u64)STEPS * OWNERS_PER_STEP;
	end_run(owning);
	if (owning->owner)
		count_pages(owning->owner >> 16, owning->pages - owning->untracked);
}

static __always_inline bool is_left_out(__u32 gfp)
{
	return owner_options.kernel_only && gfp & GFP_MOVABLE;
}

static __always_inline __u32 owner_now(void *ctx, __u32 hook, __u32 gfp, struct owner_counters *counted)
{
	return (is_left_out(gfp) ? SLOT_LEFT_OUT : slot_of_stack(ctx, hook, counted)) << 16 | time_code();
}

SEC("raw_tp/mm_page_alloc")
int on_alloc(__u64 *ctx)
{
	struct owner_counters *counted = counters(BY_ALLOC);
	struct owning owning = { .pages = 1ULL << (ctx[1] & 31) };

	if (!counted || !owner_state.ready || !ctx[0])
		return 0;
	owning.pfn = pfn_of(ctx[0]);
	owning.owner = owner_now(ctx, HOOK_ALLOC, ctx[2], counted);
	own_pages(&owning);
	counted->allocated_pages += owning.pages - owning.untracked;
	counted->untracked_pages += owning.untracked;
	counted->healed_pages += owning.seen;
	return 0;
}

SEC("raw_tp/mm_page_free")
int on_free(__u64 *ctx)
{
	struct owner_counters *counted = counters(BY_FREE);
	struct owning owning = { .pages = 1ULL << (ctx[1] & 31) };

	if (!counted || !owner_state.ready)
		return 0;
	owning.pfn = pfn_of(ctx[0]);
	own_pages(&owning);
	counted->freed_pages += owning.seen;
	counted->unowned_frees += owning.pages - owning.seen - owning.untracked;
	return 0;
}

/*
 * Arguments of the function that a program is on, and behind them what it returned, as numbers: read from the context as from
 * any memory, they are no pointers to the verifier, which are not to be reckoned with. bpf_get_func_arg() came with 5.17.
 */
static __always_inline __u64 argument(void *ctx, __u32 number)
{
	__u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), ctx + 8 * number);
	return value;
}

struct bulk {
	__u64 array; /* of pages, or 0 */
	__u64 next; /* of a list, else */
	__u64 pages;
	__u64 owned;
	__u64 untracked;
	__u32 owner;
	__u32 reserved;
};

/* A page that has an owner was in the array before: callers hand in what they still have. */
static long own_next(void *map, const __u32 *step, __u64 *unused, struct bulk *bulk)
{
	const __u64 lru_at = bpf_core_field_offset(struct page, lru);
	__u64 page = 0;
	__u32 *owner;

	if (bulk->array) {
		bpf_probe_read_kernel(&page, sizeof(page), (void *)(bulk->array + 8ULL * *step));
	} else {
		page = bulk->next - lru_at;
		bpf_probe_read_kernel(&bulk->next, sizeof(bulk->next), (void *)bulk->next);
	}
	owner = page ? owner_of(pfn_of(page)) : NULL;
	if (page && !owner) {
		bulk->untracked++;
	} else if (page && !*owner) {
		*owner = bulk->owner;
		bulk->owned++;
	}
	return *step + 1 >= bulk->pages;
}

/* alloc_pages_bulk(gfp, nid, nodemask, nr_pages, [page_list up to 6.13,] page_array) */
SEC("fexit")
int on_bulk_alloc(void *ctx)
{
	struct owner_counters *counted = counters(BY_BULK);
	__u32 arguments = owner_options.bulk_arguments;
	struct bulk bulk = { .pages = argument(ctx, arguments) };

	if (!counted || !owner_state.ready || !bulk.pages)
		return 0;
	bulk.array = argument(ctx, arguments - 1);
	if (!bulk.array) {
		bulk.next = argument(ctx, arguments - 2);
		bpf_probe_read_kernel(&bulk.next, sizeof(bulk.next), (void *)bulk.next);
	}
	bulk.owner = owner_now(ctx, HOOK_BULK, argument(ctx, 0), counted);
	bulk.owned = bulk.untracked = unknown_zero;
	COUNT(own_next, &bulk);
	if (bulk.pages > STEPS)
		bulk.untracked += bulk.pages - STEPS;
	count_pages(bulk.owner >> 16, bulk.owned);
	counted->allocated_pages += bulk.owned;
	counted->untracked_pages += bulk.untracked;
	return 0;
}

/* alloc_contig_range(start, end, [alloc_flags or migratetype,] gfp) */
SEC("fexit")
int on_contig_alloc(void *ctx)
{
	struct owner_counters *counted = counters(BY_CONTIG);
	__u64 start = argument(ctx, 0), end = argument(ctx, 1);
	__u32 arguments = owner_options.contig_arguments;
	struct owning owning = { .pfn = start, .pages = end - start };

	if (!counted || !owner_state.ready || (__u32)argument(ctx, arguments) || end <= start)
		return 0;
	owning.owner = owner_now(ctx, HOOK_CONTIG, argument(ctx, arguments - 1), counted);
	own_pages(&owning);
	counted->allocated_pages += owning.pages - owning.untracked;
	counted->untracked_pages += owning.untracked;
	counted->healed_pages += owning.seen;
	return 0;
}

struct moving {
	__u64 from;
	__u64 to;
	__u64 pages;
	__u64 moved;
	__u64 seen; /* targets that were owned */
};

static long swap_one(void *map, const __u32 *step, __u64 *unused, struct moving *moving)
{
	__u32 *from = owner_of(moving->from + *step), *to = owner_of(moving->to + *step), owner;

	if (from && to) {
		owner = *from;
		*from = *to;
		*to = owner;
		moving->moved++;
	}
	return *step + 1 >= moving->pages;
}

static long copy_one(void *map, const __u32 *step, __u64 *unused, struct moving *moving)
{
	__u32 *from = owner_of(moving->from + *step), *to = owner_of(moving->to + *step);

	if (from && to && *from) {
		if (*to) {
			moving->seen++;
			count_pages(*to >> 16, -1ULL);
		}
		count_pages(*from >> 16, 1);
		moving->moved++;
		*to = *from;
	}
	return *step + 1 >= moving->pages;
}

/*
 * include/linux/mm.h folio_nr_pages(), of a folio that nobody splits meanwhile: the order is a field of the second page, of
 * the folio (6.3 to 6.5), and since 6.6 the low byte of the second page's flags, which are the first word of a page.
 */
static __always_inline __u32 pages_of_folio(__u64 at)
{
	const struct page *second = (void *)(at + bpf_core_type_size(struct page));
	const struct folio *folio = (void *)at;
	__u64 flags = 0;
	__u8 order = 0;

	bpf_probe_read_kernel(&flags, sizeof(flags), (void *)at);
	if (!(flags >> bpf_core_enum_value(enum pageflags, PG_head) & 1))
		return 1;
	if (bpf_core_field_exists(second->compound_order)) {
		bpf_core_read(&order, sizeof(order), &second->compound_order);
	} else if (bpf_core_field_exists(folio->_folio_order)) {
		bpf_core_read(&order, sizeof(order), &folio->_folio_order);
	} else {
		bpf_probe_read_kernel(&flags, sizeof(flags), second);
		order = flags;
	}
	return 1u << (order & 31);
}

/* mm/compaction.c compaction_alloc(src, data): a free page for another one to move to, which it will belong to. */
SEC("fexit")
int on_compaction_alloc(void *ctx)
{
	struct owner_counters *counted = counters(BY_COMPACTION);
	__u64 from = argument(ctx, 0), to = argument(ctx, COMPACTION_ARGUMENTS);
	struct moving moving = {};

	if (!counted || !owner_state.ready || !to)
		return 0;
	moving.from = pfn_of(from);
	moving.to = pfn_of(to);
	moving.pages = pages_of_folio(from);
	moving.moved = moving.seen = unknown_zero;
	COUNT(copy_one, &moving);
	counted->allocated_pages += moving.moved;
	counted->healed_pages += moving.seen;
	return 0;
}

/* mm/migrate.c folio_migrate_flags(new, old); migrate_page_states(new, old) up to 5.15 */
static __always_inline int moved(__u64 to, __u64 from)
{
	struct owner_counters *counted = counters(BY_MIGRATION);
	struct moving moving = {};

	if (!counted || !owner_state.ready)
		return 0;
	moving.from = pfn_of(from);
	moving.to = pfn_of(to);
	moving.pages = pages_of_folio(from);
	moving.moved = unknown_zero;
	COUNT(swap_one, &moving);
	counted->moved_pages += moving.moved;
	return 0;
}

SEC("fentry")
int on_migration(void *ctx)
{
	return moved(argument(ctx, 0), argument(ctx, 1));
}

SEC("kprobe")
int on_migration_by_kprobe(void *ctx)
{
	return moved((__u64)FIRST_ARGUMENT(ctx), SECOND_ARGUMENT(ctx));
}

/*
 * mm/sparse.c: where struct page lies. Every section says where its own would have begun from page frame 0; with a virtual
 * memory map they all say the same, and the low bits are flags.
 */
extern const void mem_section __ksym __weak;
extern const void _totalram_pages __ksym __weak; /* mm/page_alloc.c, mm/mm_init.c */

struct looking {
	__u64 roots;
	__u64 vmemmap;
	__u32 different;
	__u32 row;
};

static long look_at_section(void *counted, const __u32 *step, __u64 *unused, struct looking *looking)
{
	const __u32 number = looking->row * STEPS + *step;
	const __u64 size = bpf_core_type_size(struct mem_section);
	const __u64 per_root = (1ULL << (owner_options.page_shift & 31)) / size;
	struct mem_section *section;
	__u64 root = 0, map = 0;

	if (!per_root || number >= owner_options.sections)
		return 1;
	bpf_probe_read_kernel(&root, sizeof(root), (void *)(looking->roots + number / per_root * 8));
	if (!root)
		return 0;
	section = (void *)(root + number % per_root * size);
	bpf_probe_read_kernel(&map, sizeof(map), __builtin_preserve_access_index(&section->section_mem_map));
	if (!(map & 1))
		return 0; /* SECTION_MARKED_PRESENT */
	map &= ~(__u64)(SECTION_FLAGS - 1);
	if (looking->vmemmap && looking->vmemmap != map)
		looking->different = 1;
	looking->vmemmap = map;
	return 0;
}

static long look_at_row(void *map, const __u32 *row, __u64 *unused, struct looking *looking)
{
	looking->row = *row;
	COUNT(look_at_section, looking);
	return (__u64)(*row + 1) * STEPS >= owner_options.sections;
}

/* Run by the loader. */
SEC("raw_tp")
int look_around(void *ctx)
{
	struct looking looking = {};

	bpf_probe_read_kernel(&owner_state.ram_pages, sizeof(owner_state.ram_pages), &_totalram_pages);
	owner_state.clock_jiffies = bpf_jiffies64();
	owner_state.clock_ns = bpf_ktime_get_ns();
	bpf_probe_read_kernel(&looking.roots, sizeof(looking.roots), &mem_section);
	if (looking.roots)
		COUNT(look_at_row, &looking);
	owner_state.vmemmap = looking.different ? 0 : looking.vmemmap;
	return 0;
}

#endif
