/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What the programs here need to know of the kernel, and no more. Every structure is a sketch: where its members really
 * lie, and whether they are there at all, libbpf finds out from the running kernel's BTF. A name before three underscores
 * is the kernel's; what follows tells variants apart.
 */
#ifndef OOMSCOPE_KERNEL_H
#define OOMSCOPE_KERNEL_H

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u16 __sum16;
typedef __u32 __wsum;
typedef _Bool bool;
#define NULL ((void *)0)

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

/* include/uapi/linux/bpf.h */
enum { BPF_ANY, BPF_NOEXIST, BPF_EXIST };
enum { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_PERCPU_ARRAY = 6 };
enum { BPF_F_MMAPABLE = 1024 };

#define CO_RE __attribute__((preserve_access_index))

/* The arguments of the function that a kprobe stands on: the layouts of the architectures' uapi, which never change. */
#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
};
#define FIRST_ARGUMENT(ctx) ((void *)((struct pt_regs *)(ctx))->di)
#define SECOND_ARGUMENT(ctx) ((__u64)((struct pt_regs *)(ctx))->si)
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
	unsigned long regs[31];
};
#define FIRST_ARGUMENT(ctx) ((void *)((struct user_pt_regs *)(ctx))->regs[0])
#define SECOND_ARGUMENT(ctx) ((__u64)((struct user_pt_regs *)(ctx))->regs[1])
#else
#error "no such architecture yet"
#endif

/*
 * Going round, from 5.13 on: bpf_loop() came with 5.17, so a map that nobody looks into is counted through. A callback that
 * returns 1 ends it. One that is nested into itself counts to 268 million.
 */
#define STEPS 16384

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STEPS);
	__type(key, __u32);
	__type(value, __u64);
} steps SEC(".maps");

#define COUNT(callback, context) bpf_for_each_map_elem(&steps, callback, context, 0)

/* include/linux/oom.h */
struct oom_control {
	void *memcg;
	int order;
	void *chosen;
} CO_RE;

/* lib/stackdepot.c, include/linux/stackdepot.h */
typedef struct {
	int counter;
} atomic_t;

typedef struct {
	atomic_t refs;
} refcount_t;

union handle_parts___plus_one { /* 6.8 and later: 1 stands for the first pool */
	__u32 handle;
	struct {
		__u32 pool_index_plus_1 : 17;
	};
} CO_RE;

union handle_parts___pool { /* 6.3 and later */
	__u32 handle;
	struct {
		__u32 pool_index : 16;
	};
} CO_RE;

union handle_parts___slab { /* before */
	__u32 handle;
	struct {
		__u32 slabindex : 16;
	};
} CO_RE;

union handle_parts {
	__u32 handle;
	struct {
		__u32 offset : 10;
	};
} CO_RE;

struct stack_record {
	__u32 size;
	union handle_parts handle;
	refcount_t count; /* 6.9 and later: base pages + 1 */
	unsigned long entries[1];
} CO_RE;

/* mm/page_owner.c */
struct stack___page_owner { /* 6.9 and later */
	struct stack_record *stack_record;
	struct stack___page_owner *next;
} CO_RE;

struct page_owner {
	__u32 handle;
} CO_RE;

/* include/linux/mm_types.h, include/linux/page-flags.h, include/linux/mmzone.h */
struct page {
	struct list_head {
		struct list_head *next;
	} lru;
	unsigned char compound_order; /* up to 6.2 or so */
} CO_RE;

struct folio {
	unsigned char _folio_order; /* 6.1 to 6.5 */
} CO_RE;

enum pageflags {
	PG_head = 1,
};

enum zone_stat_item {
	NR_FREE_PAGES = 0,
};

/* include/linux/page_ext.h */
struct page_ext_operations {
	unsigned long offset;
} CO_RE;

enum page_ext_flags {
	PAGE_EXT_OWNER_ALLOCATED = 1,
};

/* include/linux/mmzone.h */
struct mem_section {
	unsigned long section_mem_map;
	struct page_ext *page_ext;
} CO_RE;

#endif
