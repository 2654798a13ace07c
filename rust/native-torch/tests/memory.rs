//! What a forward pass of a convolutional network takes: its weights, twice the activations that are alive at once at
//! most, and a little.

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

use common::Random;
use native_torch::{
    eval::Function,
    graph::{Conv, MaxPool, Op, Unary},
    tensor::DType,
};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn activations_share_their_memory_and_images_are_not_unfolded() {
    // Twelve images of 12 x 128 x 128 one after another; two are alive at once, and with the residual three.
    let (size, channels, depth) = (128, 12, 6);
    let graph = common::graph(&[1, 3, size, size], |b, random, x| {
        let mut h = x;
        for i in 0..depth {
            let input = if i == 0 { 3 } else { channels };
            let weight = b.parameter("weight", random.tensor(&[channels, input, 3, 3]));
            let conv = Conv { stride: vec![1; 2], padding: vec![(1, 1); 2], dilation: vec![1; 2], groups: 1 };
            let z = b.node(Op::Conv(conv), &[h, weight]).unwrap();
            let scale = b.parameter("scale", random.tensor(&[channels, 1, 1]));
            let z = b.node(Op::Mul, &[z, scale]).unwrap();
            let z = b.unary(Unary::Relu, z).unwrap();
            h = if i == 0 { z } else { b.add(z, h).unwrap() };
        }
        let pool = MaxPool {
            kernel: vec![32; 2],
            stride: vec![32; 2],
            padding: vec![0; 2],
            dilation: vec![1; 2],
            ceil_mode: false,
        };
        let h = b.node(Op::MaxPool(pool), &[h]).unwrap();
        let h = b.node(Op::Flatten { start: 1, end: 3 }, &[h]).unwrap();
        common::linear(b, random, h, 10, true)
    });
    for (dtype, bytes) in [(DType::F64, 8), (DType::F32, 4)] {
        let parameters: usize = graph.parameters().iter().map(|p| p.tensor.numel()).sum();
        let alive = 3 * channels * size * size;
        let limit = bytes * (parameters + 2 * alive) + (4 << 20);
        let all: usize = graph.values().iter().map(|v| v.ty.sizes().unwrap().iter().product::<usize>()).sum();
        assert!(limit < bytes * all, "the test would not notice that all values are kept");
        let x = Random(1).vector(3 * size * size);
        let before = LIVE.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let f = Function::compile(&graph, dtype).unwrap();
        let mut y = vec![0.0; f.m()];
        f.value(&mut f.workspace(), &x, &mut y).unwrap();
        let taken = PEAK.load(Ordering::Relaxed) - before;
        assert!(taken <= limit, "{} bytes in {}, more than {limit}", taken, dtype.name());
        assert!(y.iter().all(|v| v.is_finite()));
    }
}
