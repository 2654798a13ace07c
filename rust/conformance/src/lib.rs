//! What NativeTorch must do, whichever way it is called: one suite over the fixtures in `test/models`, which torch 2.13
//! answered, for every implementor of [`Api`].
//!
//! ```text
//! native_torch_conformance::suite!(Native);
//! ```

mod api;
pub mod bounds;
pub mod derivatives;
pub mod errors;
pub mod files;
mod fixture;
pub mod formulations;
pub mod models;

pub use api::{
    Api, Cones, Failure, Function, Indicators, Kind, Lists, Model, Module, ModuleKind, Order, Outcome, Precision,
    QuadraticRows, Ranges, Row, Rows, Signature, Source, Tables, Tapes,
};

/// The tests of the suite, for one [`Api`].
#[macro_export]
macro_rules! suite {
    ($api:ty) => {
        $crate::suite! { $api:
            models { modules_are_those_in_the_file, values_are_those_of_torch, single_precision_is_that_of_torch,
                     the_default_shape_holds_one_example, a_function_serves_many_threads }
            files { every_source_gives_the_same_model, values_are_those_of_python, damaged_tensors_fail_when_they_are_read,
                    refusals_do_not_depend_on_the_source }
            derivatives { jacobians_are_those_of_torch, products_are_those_of_torch, hessians_are_those_of_torch,
                          several_points_are_as_one_by_one }
            errors { refused_files_say_what_and_where, wrong_lengths_are_refused, wrong_shapes_are_refused,
                     foreign_workspaces_are_refused }
            bounds { bounds_hold_the_values_of_torch, programs_tighten_bounds }
            formulations {
                the_forward_pass_satisfies_the_formulation, every_form_holds, other_points_do_not, options_are_checked,
                bounds_are_checked
            }
        }
    };
    ($api:ty: $($module:ident { $($test:ident),* })*) => {
        $($(
            #[test]
            fn $test() {
                $crate::$module::$test::<$api>();
            }
        )*)*
    };
}
