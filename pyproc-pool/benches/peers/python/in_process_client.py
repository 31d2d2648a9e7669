"""Runs the Rust module that calls Python functions of its own process."""

import sys

import pyproc_bench_in_process

import measure

if __name__ == "__main__":
    measure.end_in_time()
    pyproc_bench_in_process.take_steps(sys.argv[1])
