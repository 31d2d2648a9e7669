//! A call allocates nothing but the user's data. Numbers have no data on the heap, so
//! calls with numbers allocate nothing at all, save now and then a new buffer for what arrives.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![allow(unsafe_code, reason = "an allocator that counts is still an allocator")]

mod support;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

use pyproc_pool::Pool;
use support::odd;
use tokio::task::JoinSet;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every method hands its arguments to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

async fn calls(pool: Pool, number: u32) {
    for i in 0..number {
        assert_eq!(pool.call::<_, u32>("echo", &i).await.unwrap(), i);
    }
}

/// Allocations while `callers` make `each` calls one after another.
async fn count(pool: &Pool, callers: usize, each: u32) -> usize {
    let mut tasks = JoinSet::new();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..callers {
        tasks.spawn(calls(pool.clone(), each));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// One test only, as another at the same time would be counted too.
#[tokio::test]
async fn calls_allocate_nothing_but_the_users_data() {
    let pool = odd(1).start().await.unwrap();
    for callers in [1, 16] {
        // Tables, queues and buffers grow to their size.
        count(&pool, callers, 200).await;
        let few = count(&pool, callers, 100).await;
        let many = count(&pool, callers, 1100).await;
        let more_calls = callers * 1000;
        let more_allocations = many.saturating_sub(few);
        assert!(
            more_allocations * 100 < more_calls,
            "{more_allocations} allocations in {more_calls} calls, {callers} at a time"
        );
    }
}
