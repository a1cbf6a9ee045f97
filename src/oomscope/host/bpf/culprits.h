/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Who answers for each stack's pages, told while dying. The loader turns the frames that answer for nobody's memory
 * (attribution/frames.tsv) into ranges of addresses; who answers is decided as attribution/culprit.py does: the first frame
 * beyond them, from the allocator outwards. One function may ask from many places, and a compiler may make several of it:
 * pages are added up by a frame's address first, then by its function's name.
 */
#ifndef OOMSCOPE_CULPRITS_H
#define OOMSCOPE_CULPRITS_H

#include "kernel.h"
#include "panic_report.h"

#define RANGE_STEPS 17 /* of a search: 131,071 ranges */
#define MOST_ENCLOSING 4
#define MOST_ADDRESSES 4096
#define MOST_FUNCTIONS 2048
#define NAME_BYTES 256
#define NOBODY 0 /* answers; a process, a file or the administrator does */

/* What a frame says: its role, and the kind of memory where it tells one. host/bpf/plumbing.py packs it. */
enum frame_role { ANSWERS = 0, IS_PLUMBING = 1, IS_ENTRY = 2, IS_LABEL = 3, ROLES = 3 };
enum frame_kind { KIND_KERNEL = 4, KIND_OF_NOBODY = 8, KIND_OTHER = 12, FRAME_KINDS = 12 };
enum { IS_LATER = 16 };

struct range {
	__u64 start;
	__u64 end;
	__u64 says;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct range);
} plumbing SEC(".maps");

/* Set by the loader. */
const volatile struct {
	__u64 image_start; /* of the kernel itself, modules and programs excepted */
	__u64 image_end;
	struct {
		__u64 start;
		__u64 end;
	} enclosing[MOST_ENCLOSING]; /* functions that answer for all that is asked for below them */
	__u32 ranges;
	__u32 reserved;
} culprit_options SEC(".rodata.culprits");

/* 0, which the verifier does not know: of a search whose ends it knows, it would follow every step to every end. */
volatile __u32 unknown_index = 0;

struct held {
	__u64 pages;
	__u64 stacks;
	__u64 address; /* of one of its frames */
	__u64 variance; /* of `pages`, where they are an estimate */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MOST_ADDRESSES);
	__type(key, __u64);
	__type(value, struct held);
} culprits_by_address SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MOST_FUNCTIONS);
	__type(key, __u64); /* a hash of the function's name */
	__type(value, struct held);
} culprits_by_name SEC(".maps");

struct naming {
	struct held greatest[CULPRITS];
	__u64 lost_pages; /* that found no room */
	__u64 later_pages; /* by modules that were loaded since */
	__u64 took_ns;
};

/* Of one stack. */
struct deciding {
	__u64 answer;
	__u64 helper; /* the last one so far */
	__u32 kind; /* of the frames so far */
	__u32 is_later;
	__u32 is_enclosed; /* some function further out answers for all of it */
};

/* One report runs at a time, so what it works on is global. */
struct deciding deciding = {};
__u64 frames[FRAMES] = {};
char name[NAME_BYTES] = {};
struct naming naming = {};

/* 1 or 0, without a branch: within a loop each one would be another way to follow. */
static __always_inline __u64 is_equal(__u64 one, __u64 other)
{
	__u64 differ = one ^ other;

	asm volatile("" : "+r"(differ));
	return (differ - 1) >> 63 & ~(differ >> 63);
}

/* Functions that are not static are verified once, by themselves, and not again for every call. */
__noinline __u64 hash_of_name(__u64 address)
{
	static const char form[] = "%ps";
	__u64 hash = 14695981039346656037ULL; /* FNV-1a */
	__u64 is_suffix = 0;

	bpf_snprintf(name, sizeof(name), form, &address, sizeof(address));
	/* Without what the compiler puts behind a dot: .isra.0, .constprop.0. What may follow is the module, behind a space. */
	for (__u32 i = 0; i < NAME_BYTES; i++) {
		__u64 letter = (unsigned char)name[i];

		if (!letter)
			break;
		is_suffix = is_equal(letter, '.') | (is_suffix & ~is_equal(letter, ' '));
		hash = (hash & -is_suffix) | (((hash ^ letter) * 1099511628211ULL) & (is_suffix - 1));
	}
	return hash;
}

/*
 * Of an address that nobody knew when this was loaded: a module that came later answers, and so does what has no name, for
 * its module is gone. Programs and trampolines are named and of no module.
 */
__noinline int stranger_says(__u64 address)
{
	static const char form[] = "%ps";
	__u64 last = 0, module = 0, other = 0, is_bare;

	bpf_snprintf(name, sizeof(name), form, &address, sizeof(address));
	is_bare = is_equal((unsigned char)name[0], '0') & is_equal((unsigned char)name[1], 'x');
	for (__u32 i = 0; i < NAME_BYTES; i++) {
		__u64 letter = (unsigned char)name[i];

		if (!letter)
			break;
		last = last << 8 | letter;
		module |= is_equal(letter, '[');
		other |= is_equal(last & 0xffffff, 0x5b5f5f); /* [__ as in [__builtin__ftrace] */
		other |= is_equal(last & 0xffffffffffULL, 0x5b6270665dULL); /* [bpf] */
	}
	if (is_bare)
		return ANSWERS;
	return module & ~other & 1 ? ANSWERS | IS_LATER : IS_PLUMBING;
}

__noinline int frame_says(__u64 address)
{
	__u32 low = unknown_index, high = culprit_options.ranges + unknown_index, middle;
	struct range *range;

	for (int step = 0; step < RANGE_STEPS && low < high; step++) {
		middle = (low + high) / 2;
		range = bpf_map_lookup_elem(&plumbing, &middle);
		if (!range)
			break;
		if (address < range->start)
			high = middle;
		else if (address >= range->end)
			low = middle + 1;
		else
			return range->says;
	}
	if (address >= culprit_options.image_start && address < culprit_options.image_end)
		return ANSWERS;
	return stranger_says(address);
}

__noinline int is_enclosing(__u64 address)
{
	for (__u32 i = 0; i < MOST_ENCLOSING; i++) {
		if (address >= culprit_options.enclosing[i].start && address < culprit_options.enclosing[i].end)
			return 1;
	}
	return 0;
}

/*
 * attribution/culprit.py attribute(), a frame at a time from the allocator outwards; 1 where no further one matters. What is
 * decided lies in memory, of which the verifier knows nothing: in registers, each decision would be a way of its own.
 */
__noinline int look_at(__u64 address)
{
	__u32 says, kind;

	says = frame_says(address);
	if ((says & ROLES) == IS_LABEL) {
		deciding.kind = KIND_OF_NOBODY;
		return 1;
	}
	if ((says & ROLES) == IS_ENTRY)
		return 0;
	kind = says & FRAME_KINDS;
	if (kind && (!deciding.kind || kind == KIND_KERNEL))
		deciding.kind = kind;
	if ((says & ROLES) == IS_PLUMBING) {
		deciding.helper = address;
		return 0;
	}
	if (deciding.is_enclosed && !is_enclosing(address))
		return 0;
	deciding.answer = address;
	deciding.is_later = says & IS_LATER;
	return 1;
}

/* The frame of `frames` that answers, or NOBODY. */
__noinline __u64 culprit_of(__u32 count)
{
	__builtin_memset(&deciding, 0, sizeof(deciding));
	deciding.helper = count ? frames[0] : NOBODY;
	for (__u32 i = 0; i < FRAMES && i < count; i++)
		deciding.is_enclosed |= is_enclosing(frames[i]);
	for (__u32 i = 0; i < FRAMES && i < count; i++) {
		if (look_at(frames[i]))
			break;
	}
	if (deciding.kind == KIND_OF_NOBODY)
		return NOBODY;
	return deciding.answer ?: deciding.helper;
}

static __always_inline void add_culprit(__u64 pages, __u64 variance, __u32 count)
{
	__u64 address = culprit_of(count);
	struct held *held, fresh = { .pages = pages, .stacks = 1, .address = address, .variance = variance };

	if (address == NOBODY)
		return;
	if (deciding.is_later)
		naming.later_pages += pages;
	held = bpf_map_lookup_elem(&culprits_by_address, &address);
	if (held) {
		held->pages += pages;
		held->stacks++;
		held->variance += variance;
	} else if (bpf_map_update_elem(&culprits_by_address, &address, &fresh, BPF_NOEXIST)) {
		naming.lost_pages += pages;
	}
}

static long add_by_name(void *map, const __u64 *address, struct held *value, void *unused)
{
	struct held *held, fresh = *value;
	__u64 key = hash_of_name(*address);

	held = bpf_map_lookup_elem(&culprits_by_name, &key);
	if (held) {
		held->pages += fresh.pages;
		held->stacks += fresh.stacks;
		held->variance += fresh.variance;
	} else if (bpf_map_update_elem(&culprits_by_name, &key, &fresh, BPF_NOEXIST)) {
		naming.lost_pages += fresh.pages;
	}
	return 0;
}

/* Of equals the lower address stays before: a map's order is no order. */
static long keep_greatest(void *map, const __u64 *key, struct held *value, void *unused)
{
	struct held held = *value;

#pragma unroll
	for (int i = 0; i < CULPRITS; i++) {
		struct held *kept = &naming.greatest[i];

		if (held.pages > kept->pages || (held.pages == kept->pages && held.address < kept->address)) {
			struct held less = *kept;

			*kept = held;
			held = less;
		}
	}
	return 0;
}

static long forget_culprit(void *map, const __u64 *key, struct held *value, void *unused)
{
	bpf_map_delete_elem(map, key);
	return 0;
}

static __always_inline void forget_culprits(void)
{
	__builtin_memset(&naming, 0, sizeof(naming));
	bpf_for_each_map_elem(&culprits_by_address, forget_culprit, NULL, 0);
	bpf_for_each_map_elem(&culprits_by_name, forget_culprit, NULL, 0);
}

static __always_inline void name_culprits(void)
{
	__u64 began_ns = bpf_ktime_get_ns();

	bpf_for_each_map_elem(&culprits_by_address, add_by_name, NULL, 0);
	bpf_for_each_map_elem(&culprits_by_name, keep_greatest, NULL, 0);
	naming.took_ns += bpf_ktime_get_ns() - began_ns;
}

#endif
