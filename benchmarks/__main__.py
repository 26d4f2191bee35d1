"""``python -m benchmarks``: every benchmark, one table after the other."""

from benchmarks import bench_secs2

bench_secs2.main()
