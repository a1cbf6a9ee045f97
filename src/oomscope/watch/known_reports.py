"""Two reports with a line or two of each section: explaining them loads what is loaded late."""

REPORTS = b"""\
[    1.000000] a: page allocation failure: order:4, mode:0xcc0(GFP_KERNEL), nodemask=(null),cpuset=/,mems_allowed=0
[    1.000000] CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1
[    1.000000] Call Trace:
[    1.000000]  warn_alloc+0x11c/0x190
[    1.000000]  __alloc_pages+0x11c/0x190
[    1.000000]  driver_open+0x11c/0x190 [driver]
[    1.000000] Mem-Info:
[    1.000000] active_anon:1 inactive_anon:1 isolated_anon:0
                active_file:1 inactive_file:1 isolated_file:0
                unevictable:0 dirty:0 writeback:0
                slab_reclaimable:1 slab_unreclaimable:9000
                mapped:1 shmem:1 pagetables:1
                free:100 free_pcp:0 free_cma:0
[    1.000000] Node 0 Normal free:400kB min:800kB low:900kB high:999kB present:40000kB managed:40000kB
[    1.000000] lowmem_reserve[]: 0 0 0 0
[    1.000000] Node 0 Normal: 10*4kB (UM) 1*8kB (U) 0*16kB 0*32kB 0*64kB = 48kB
[    1.000000] 10000 pages RAM
[    1.000000] 0 pages HighMem/MovableOnly
[    1.000000] 0 pages reserved
[    9.000000] a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
[    9.000000] Mem-Info:
[    9.000000] active_anon:9000 inactive_anon:1 isolated_anon:0
                free:100 free_pcp:0 free_cma:0
[    9.000000] 10000 pages RAM
[    9.000000] Tasks state (memory values in pages):
[    9.000000] [  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name
[    9.000000] [      7]     0     7     9000     8000    40960        0             0 a
[    9.000000] oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/a
[    9.000000] Out of memory: Killed process 7 (a) total-vm:36000kB, anon-rss:32000kB, file-rss:0kB, shmem-rss:0kB
"""
