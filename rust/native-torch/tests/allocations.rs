//! An evaluation allocates nothing once its workspace has seen the kind of call.

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use common::{Case, Random, cases, mlp};
use native_torch::{
    eval::{Function, Order},
    graph::Unary,
    tensor::DType,
};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn evaluations_allocate_nothing() {
    let mut all = cases();
    all.push(Case { name: "large".to_owned(), graph: mlp(&[300, 400, 260, 40], Unary::Tanh) });
    let mut random = Random(5);
    for Case { name, graph } in all {
        for dtype in [DType::F64, DType::F32] {
            let f = Function::compile(&graph, dtype).unwrap();
            let (n, m, points) = (f.n(), f.m(), 3);
            let mut ws = f.workspace();
            let (mut y, mut j) = (vec![0.0; points * m], vec![0.0; points * m * n]);
            let mut sparse_j = vec![0.0; points * f.jacobian_pattern().len()];
            let mut h = vec![0.0; points * f.hessian_pattern().len()];
            let (mut forward, mut reverse) = (vec![0.0; points * m], vec![0.0; points * n]);
            let mu = random.vector(points * m);
            for round in 0..2 {
                let (x, v) = (random.vector(points * n), random.vector(points * n));
                let before = COUNT.with(Cell::get);
                f.value(&mut ws, &x, &mut y).unwrap();
                f.value(&mut ws, &x[..n], &mut y[..m]).unwrap();
                f.jacobian(&mut ws, &x, Order::RowMajor, &mut j).unwrap();
                f.jacobian_values(&mut ws, &x, &mut sparse_j).unwrap();
                f.hessian_values(&mut ws, &x, &mu, &mut h).unwrap();
                f.jvp(&mut ws, &x, &v, &mut forward).unwrap();
                f.vjp(&mut ws, &x, &mu, &mut reverse).unwrap();
                f.hvp(&mut ws, &x, &mu, &v, &mut reverse).unwrap();
                let count = COUNT.with(Cell::get) - before;
                assert!(round == 0 || count == 0, "{name} in {}: {count} allocations", dtype.name());
            }
        }
    }
}
