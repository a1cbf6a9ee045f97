/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* What the maps of the table of owners hold. src/oomscope/sources/tracker/layout.py reads this very layout. */
#ifndef OOMSCOPE_OWNERS_LAYOUT_H
#define OOMSCOPE_OWNERS_LAYOUT_H

#define OWNER_FRAMES 16 /* as many as page_owner keeps */
#define OWNER_BLOCK_SHIFT 15
#define OWNER_BLOCK_PAGES 32768
#define OWNER_FINE_STEPS 32768
#define OWNER_COARSE_SHIFT 8
#define OWNER_LAST_STEP 65535
#define MOST_SHARDS 16 /* of the counts of pages */

/* A page's owner: the slot of a stack in the upper 16 bits, about when in the lower ones. The first slots are no stacks. */
enum owner_slot {
	SLOT_NONE = 0,
	SLOT_LEFT_OUT = 1, /* user memory and page cache, where only the kernel's is asked for */
	SLOT_TABLE_FULL = 2, /* no room for its stack */
	SLOT_NO_STACK = 3, /* its stack could not be taken */
	FIRST_SLOT = 4,
};

/* Where a stack is taken. */
enum owner_hook { HOOK_ALLOC, HOOK_BULK, HOOK_CONTIG, HOOKS };

struct owner_state {
	__u64 since_ns; /* CLOCK_MONOTONIC */
	__u64 since_jiffies; /* the same moment */
	__u64 step_ns; /* how long a step of an entry's time lasts */
	__u64 clock_ns; /* both clocks, when somebody looked last */
	__u64 clock_jiffies;
	__u64 vmemmap; /* where struct page 0 would be; 0 where there is no one place */
	__u32 ready;
	__u32 step_shift; /* from jiffies to steps */
	__u32 own_frames[HOOKS]; /* of the tracing itself, above the allocator's */
	__u32 reserved;
	__u64 ram_pages; /* when tracking began */
};

struct owned_stack {
	__u64 hash; /* 0: free */
	__u64 first_ns;
	__u64 frames; /* 0: not whole yet */
	__u64 frame[OWNER_FRAMES]; /* return addresses, innermost first */
};

/*
 * Who counts. Each has counters of its own on each processor: a program does not run inside itself, but inside another, and
 * would take away what that one is about to write.
 */
enum owner_writer { BY_ALLOC, BY_FREE, BY_BULK, BY_CONTIG, BY_COMPACTION, BY_MIGRATION, OWNER_WRITERS };

/* Base pages, but for the last four, which are events. */
struct owner_counters {
	__u64 allocated_pages;
	__u64 freed_pages; /* that were owned */
	__u64 healed_pages; /* owned when they were allocated: their free was missed */
	__u64 unowned_frees; /* allocated before, or their allocation was missed */
	__u64 moved_pages; /* by migration */
	__u64 untracked_pages; /* allocated beyond the table, however often */
	__u64 stacks; /* slots taken */
	__u64 without_stack;
	__u64 beyond_stacks; /* the table of stacks was full */
	__u64 collisions; /* equal hashes of different stacks: each has a slot */
	__u64 slot_races; /* a slot was met while it was being written */
};

#endif
