module syncmap/bench/run_go

go 1.19
