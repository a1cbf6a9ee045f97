/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* What a report keeps in the pinned map. src/oomscope/sources/tracker/panic_report.py reads this very layout. */
#ifndef OOMSCOPE_PANIC_REPORT_H
#define OOMSCOPE_PANIC_REPORT_H

#define REPORT_MAGIC 0x32706f63736d6f6fULL /* "oomscop2" in memory */
#define REPORTS 4
#define CONSUMERS 16
#define FRAMES 64
#define CULPRITS 3

enum cause { CAUSE_PANIC = 1, CAUSE_KILL = 2 };
enum way { WAY_STACK_LIST = 1, WAY_PAGES = 2, WAY_OWNERS = 3 };

struct consumer {
	__u64 pages;
	__u32 handle;
	__u32 frames;
	__u64 frame[FRAMES];
	__u64 bound_pages; /* where a part of the pages was looked at: by how much `pages` may be off */
};

struct culprit {
	__u64 pages;
	__u64 stacks;
	__u64 frame; /* one of its return addresses */
	__u64 bound_pages;
};

struct report {
	__u64 magic;
	__u32 cause;
	__u32 way;
	__u64 at_ns; /* CLOCK_MONOTONIC */
	__u64 took_ns;
	__u64 stacks;
	__u64 pages; /* held by those stacks */
	__u64 ram_pages;
	__u64 walked_pages;
	/* pages not counted, by reason */
	__u64 early_pages;
	__u64 nameless_pages; /* the depot was full, or page_owner called itself; no stack could be taken */
	__u64 lost_pages; /* of stacks beyond the table of counts */
	__u64 unread_pages;
	__u64 older_pages; /* neither free nor owned since the programs here keep owners */
	__u64 left_out_pages; /* user memory, where only the kernel's is asked for */
	__u64 plugged_pages; /* RAM that came since then: its owners are not kept */
	__u64 taken_pages; /* RAM that has gone since then, as into a balloon: it is owned all the same */
	__u64 since_ns; /* of that, CLOCK_MONOTONIC */
	__u32 unread_stacks;
	__u32 stopped; /* the time bound was hit */
	__u32 consumers;
	__u32 stride; /* one page of so many was looked at */
	struct consumer consumer[CONSUMERS];
	/* who answers, over all stacks of each: page counts are 0 where there are fewer */
	struct culprit culprit[CULPRITS];
	__u64 later_pages; /* by modules that were loaded since it was armed: helpers of theirs are not known as such */
	__u64 nameless_culprit_pages; /* no room was left to add up whose they are */
	__u64 naming_ns; /* of what it took */
};

#endif
