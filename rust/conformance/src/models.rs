//! Files, their modules, and values.

use std::thread;

use crate::{
    Api, Function, Model, ModuleKind, Precision,
    fixture::{compiled, each_fixture, equal, filled, ok},
};

/// The table of modules has the layers that torch counts, and nothing that is unsupported.
pub fn modules_are_those_in_the_file<A: Api>() {
    each_fixture(|fixture| {
        let model = ok("open", A::open(&fixture.path))?;
        ok("verify", model.verify())?;
        let modules = ok("modules", model.modules())?;
        if !modules.first().is_some_and(|root| root.path.is_empty()) {
            return Err("the first module is not the root".to_owned());
        }
        if let Some(module) = modules.iter().find(|module| !module.reason.is_empty()) {
            return Err(format!("`{}` is not supported: {}", module.path, module.reason));
        }
        let layers = modules.iter().filter(|module| module.kind != ModuleKind::Sequential);
        let classes: Vec<&str> = layers.map(|module| module.class.as_str()).collect();
        if classes != fixture.words("layers") {
            return Err(format!("layers {classes:?}, not {:?}", fixture.words("layers")));
        }
        Ok(())
    });
}

/// f in f64.
pub fn values_are_those_of_torch<A: Api>() {
    each_fixture(|fixture| {
        let (function, mut workspace) = compiled::<A>(fixture)?;
        let signature = ok("signature", function.signature())?;
        let (inputs, outputs) = (&signature.inputs, &signature.outputs);
        let expected = (fixture.sizes("input_shape"), fixture.sizes("output_shape"));
        if inputs.len() != 1 || inputs[0].1 != expected.0 || outputs.len() != 1 || outputs[0].1 != expected.1 {
            return Err(format!("{signature:?}, not {expected:?}"));
        }
        if (signature.n, signature.m) != (expected.0.iter().product(), expected.1.iter().product()) {
            return Err(format!("{signature:?}"));
        }
        let x = fixture.numbers("x");
        let y = filled("value", signature.m, |y| function.value(&mut workspace, &x, y))?;
        equal("y", &y, &fixture.numbers("y"), fixture.tolerance())
    });
}

/// f in f32, to a few units in the last place of the largest intermediate number.
pub fn single_precision_is_that_of_torch<A: Api>() {
    each_fixture(|fixture| {
        let function = ok("compile", fixture.compile::<A>(Precision::Single))?;
        let mut workspace = ok("workspace", function.workspace())?;
        let x = fixture.numbers("x");
        let expected = fixture.numbers("y_f32");
        let y = filled("value", expected.len(), |y| function.value(&mut workspace, &x, y))?;
        equal("y", &y, &expected, 4e-6)?;
        match y.iter().find(|y| y.is_finite() && f64::from(**y as f32) != **y) {
            Some(y) => Err(format!("{y:e} is no f32")),
            None => Ok(()),
        }
    });
}

/// Without a shape, the batch is one; where the model does not fix its input, that is an error which names a layer.
pub fn the_default_shape_holds_one_example<A: Api>() {
    each_fixture(|fixture| {
        let model = ok("open", A::open(&fixture.path))?;
        match model.compile(None, Precision::Double) {
            Ok(function) => {
                let signature = ok("signature", function.signature())?;
                let shape = &signature.inputs[0].1;
                let own = fixture.sizes("input_shape");
                let fits = shape.len() > 1 && shape[0] == 1 && shape.last() == own.last();
                if fits { Ok(()) } else { Err(format!("the default shape is {shape:?}; x has {own:?}")) }
            }
            Err(failure) if failure.kind == crate::Kind::Argument && failure.message.contains("give") => Ok(()),
            Err(failure) => Err(format!("{failure:?}")),
        }
    });
}

/// Threads with workspaces of their own get what one thread gets, to the bit.
pub fn a_function_serves_many_threads<A: Api>() {
    each_fixture(|fixture| {
        if !fixture.name.starts_with("nets/") {
            return Ok(());
        }
        let (function, mut workspace) = compiled::<A>(fixture)?;
        let (x, u) = (fixture.numbers("x"), fixture.numbers("u"));
        let alone = filled("vjp", x.len(), |out| function.vjp(&mut workspace, &x, &u, out))?;
        thread::scope(|scope| {
            let work = || {
                for _ in 0..20 {
                    let mut workspace = ok("workspace", function.workspace())?;
                    let found = filled("vjp", x.len(), |out| function.vjp(&mut workspace, &x, &u, out))?;
                    equal("vjp", &found, &alone, 0.0)?;
                }
                Ok(())
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().unwrap())
        })
    });
}
