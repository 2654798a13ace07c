//! The operations that are known: names, overloads, parameters with their defaults as ATen declares them, and rules.

use std::{collections::HashMap, rc::Rc, sync::OnceLock};

use super::{
    call::Call,
    convolution, create, elementwise, extremes, formula, normalization, places, product, recurrent, reduction,
    value::{Context, Item},
    views,
};
use crate::{Error, Result};

/// What an operation does.
pub(super) type Rule = fn(&mut Call) -> Result<Item>;

type Entry = (&'static str, &'static str, &'static str, Rule);
type Formula = (&'static str, &'static str, &'static str, &'static str);

/// Operations whose results have memory of their own. Each line: the name in ATen, its overloads, its parameters.
const NEW: &[Entry] = &[
    ("erf", "default", "self", elementwise::erf),
    ("special_erf", "default", "self", elementwise::erf),
    ("exp", "default", "self", elementwise::exp),
    ("expm1", "default", "self", elementwise::expm1),
    ("special_expm1", "default", "self", elementwise::expm1),
    ("log1p", "default", "self", elementwise::log1p),
    ("special_log1p", "default", "self", elementwise::log1p),
    ("hardsigmoid", "default", "self", elementwise::hardsigmoid),
    ("hardswish", "default", "self", elementwise::hardswish),
    ("log", "default", "self", elementwise::log),
    ("mish", "default", "self", elementwise::mish),
    ("reciprocal", "default", "self", elementwise::reciprocal),
    ("relu", "default", "self", elementwise::relu),
    ("relu6", "default", "self", elementwise::relu6),
    ("rsqrt", "default", "self", elementwise::rsqrt),
    ("selu", "default", "self", elementwise::selu),
    ("sigmoid", "default", "self", elementwise::sigmoid),
    ("silu", "default", "self", elementwise::silu),
    ("sqrt", "default", "self", elementwise::sqrt),
    ("tanh", "default", "self", elementwise::tanh),
    ("abs", "default", "self", elementwise::abs),
    ("neg", "default", "self", elementwise::neg),
    ("square", "default", "self", elementwise::square),
    ("celu", "default", "self, alpha=1.0", elementwise::celu),
    ("hardshrink", "default", "self, lambd=0.5", elementwise::hardshrink),
    ("hardtanh", "default", "self, min_val=-1, max_val=1", elementwise::hardtanh),
    ("leaky_relu", "default", "self, negative_slope=0.01", elementwise::leaky_relu),
    ("softplus", "default", "self, beta=1, threshold=20", elementwise::softplus),
    ("softshrink", "default", "self, lambd=0.5", elementwise::softshrink),
    ("threshold", "default", "self, threshold, value", elementwise::threshold),
    ("elu", "default", "self, alpha=1, scale=1, input_scale=1", elementwise::elu),
    ("gelu", "default", "self, approximate='none'", elementwise::gelu),
    ("log2", "default", "self", elementwise::log2),
    ("log10", "default", "self", elementwise::log10),
    ("exp2", "default", "self", elementwise::exp2),
    ("ceil", "default", "self", elementwise::ceil),
    ("floor", "default", "self", elementwise::floor),
    ("round", "default", "self", elementwise::round),
    ("sign", "default", "self", elementwise::sign),
    ("sgn", "default", "self", elementwise::sign),
    ("sin", "default", "self", elementwise::sin),
    ("cos", "default", "self", elementwise::cos),
    ("trunc", "default", "self", elementwise::trunc),
    ("tan", "default", "self", elementwise::tan),
    ("atan", "default", "self", elementwise::atan),
    ("asin", "default", "self", elementwise::asin),
    ("acos", "default", "self", elementwise::acos),
    ("sinh", "default", "self", elementwise::sinh),
    ("cosh", "default", "self", elementwise::cosh),
    ("atanh", "default", "self", elementwise::atanh),
    ("bilinear", "default", "input1, input2, weight, bias=None", product::bilinear),
    ("_trilinear", "default", "i1, i2, i3, expand1, expand2, expand3, sumdim, unroll_dim=1", product::trilinear),
    ("log_sigmoid", "default", "self", elementwise::log_sigmoid),
    ("logical_not", "default", "self", elementwise::logical_not),
    ("bitwise_not", "default", "self", elementwise::logical_not),
    ("add", "Tensor Scalar", "self, other, alpha=1", elementwise::add),
    ("sub", "Tensor Scalar", "self, other, alpha=1", elementwise::sub),
    ("rsub", "Tensor Scalar", "self, other, alpha=1", elementwise::rsub),
    ("mul", "Tensor Scalar", "self, other", elementwise::mul),
    ("div", "Tensor_mode Scalar_mode", "self, other, rounding_mode", elementwise::div),
    ("div", "Tensor Scalar", "self, other, rounding_mode=None", elementwise::div),
    ("true_divide", "Tensor", "self, other, rounding_mode=None", elementwise::div),
    ("floor_divide", "default Scalar", "self, other", elementwise::floor_divide),
    ("fmod", "Scalar Tensor", "self, other", elementwise::fmod),
    ("remainder", "Scalar Tensor", "self, other", elementwise::remainder),
    ("eq", "Scalar Tensor", "self, other", elementwise::eq),
    ("ne", "Scalar Tensor", "self, other", elementwise::ne),
    ("gt", "Scalar Tensor", "self, other", elementwise::gt),
    ("ge", "Scalar Tensor", "self, other", elementwise::ge),
    ("lt", "Scalar Tensor", "self, other", elementwise::lt),
    ("le", "Scalar Tensor", "self, other", elementwise::le),
    ("logical_and", "default", "self, other", elementwise::logical_and),
    ("bitwise_and", "Tensor Scalar", "self, other", elementwise::bitwise_and),
    ("__and__", "Tensor Scalar", "self, other", elementwise::bitwise_and),
    ("logical_or", "default", "self, other", elementwise::logical_or),
    ("bitwise_or", "Tensor Scalar", "self, other", elementwise::bitwise_or),
    ("__or__", "Tensor Scalar", "self, other", elementwise::bitwise_or),
    ("logical_xor", "default", "self, other", elementwise::logical_xor),
    ("bitwise_xor", "Tensor Scalar", "self, other", elementwise::bitwise_xor),
    ("__xor__", "Tensor Scalar", "self, other", elementwise::bitwise_xor),
    ("isnan", "default", "self", elementwise::isnan),
    ("isinf", "default", "self", elementwise::isinf),
    ("pow", "Tensor_Scalar Tensor_Tensor Scalar", "self, exponent", elementwise::pow),
    ("clamp", "default", "self, min=None, max=None", elementwise::clamp),
    ("clamp_min", "default", "self, min", elementwise::clamp),
    ("clamp_max", "default", "self, max", elementwise::clamp),
    ("maximum", "default", "self, other", elementwise::maximum),
    ("minimum", "default", "self, other", elementwise::minimum),
    ("where", "self ScalarSelf ScalarOther Scalar", "condition, self, other", elementwise::where_),
    ("masked_fill", "Scalar Tensor", "self, mask, value", elementwise::masked_fill),
    ("fill", "Scalar Tensor", "self, value", elementwise::fill),
    ("zero", "default", "self", elementwise::zero),
    ("copy", "default", "self, src, non_blocking=False", elementwise::copy),
    (
        "_to_copy",
        "default",
        "self, dtype=None, layout=None, device=None, pin_memory=None, non_blocking=False, memory_format=None",
        elementwise::to_dtype,
    ),
    (
        "conv1d",
        "default",
        "input, weight, bias=None, stride=[1], padding=[0], dilation=[1], groups=1",
        convolution::convolution,
    ),
    (
        "conv1d",
        "padding",
        "input, weight, bias=None, stride=[1], padding='valid', dilation=[1], groups=1",
        convolution::convolution,
    ),
    (
        "conv2d",
        "default",
        "input, weight, bias=None, stride=[1, 1], padding=[0, 0], dilation=[1, 1], groups=1",
        convolution::convolution,
    ),
    (
        "conv2d",
        "padding",
        "input, weight, bias=None, stride=[1, 1], padding='valid', dilation=[1, 1], groups=1",
        convolution::convolution,
    ),
    (
        "conv3d",
        "default",
        "input, weight, bias=None, stride=[1, 1, 1], padding=[0, 0, 0], dilation=[1, 1, 1], groups=1",
        convolution::convolution,
    ),
    (
        "conv3d",
        "padding",
        "input, weight, bias=None, stride=[1, 1, 1], padding='valid', dilation=[1, 1, 1], groups=1",
        convolution::convolution,
    ),
    (
        "convolution",
        "default",
        "input, weight, bias, stride, padding, dilation, transposed, output_padding, groups",
        convolution::general,
    ),
    (
        "conv_transpose1d",
        "default",
        "input, weight, bias=None, stride=[1], padding=[0], output_padding=[0], groups=1, dilation=[1]",
        convolution::transposed,
    ),
    (
        "conv_transpose2d",
        "input",
        "input, weight, bias=None, stride=[1, 1], padding=[0, 0], output_padding=[0, 0], groups=1, dilation=[1, 1]",
        convolution::transposed,
    ),
    (
        "conv_transpose3d",
        "input",
        "input, weight, bias=None, stride=[1, 1, 1], padding=[0, 0, 0], output_padding=[0, 0, 0], groups=1, dilation=[1, 1, 1]",
        convolution::transposed,
    ),
    (
        "avg_pool1d",
        "default",
        "self, kernel_size, stride=[], padding=[0], ceil_mode=False, count_include_pad=True",
        convolution::average_pool,
    ),
    (
        "avg_pool2d",
        "default",
        "self, kernel_size, stride=[], padding=[0, 0], ceil_mode=False, count_include_pad=True, divisor_override=None",
        convolution::average_pool,
    ),
    (
        "avg_pool3d",
        "default",
        "self, kernel_size, stride=[], padding=[0, 0, 0], ceil_mode=False, count_include_pad=True, divisor_override=None",
        convolution::average_pool,
    ),
    (
        "max_pool1d",
        "default",
        "self, kernel_size, stride=[], padding=[0], dilation=[1], ceil_mode=False",
        convolution::maximum_pool,
    ),
    (
        "max_pool2d",
        "default",
        "self, kernel_size, stride=[], padding=[0, 0], dilation=[1, 1], ceil_mode=False",
        convolution::maximum_pool,
    ),
    (
        "max_pool3d",
        "default",
        "self, kernel_size, stride=[], padding=[0, 0, 0], dilation=[1, 1, 1], ceil_mode=False",
        convolution::maximum_pool,
    ),
    (
        "max_pool2d_with_indices",
        "default",
        "self, kernel_size, stride=[], padding=[0, 0], dilation=[1, 1], ceil_mode=False",
        convolution::maximum_pool_with_indices,
    ),
    (
        "max_pool3d_with_indices",
        "default",
        "self, kernel_size, stride=[], padding=[0, 0, 0], dilation=[1, 1, 1], ceil_mode=False",
        convolution::maximum_pool_with_indices,
    ),
    ("adaptive_avg_pool1d", "default", "self, output_size", convolution::adaptive_average_pool),
    ("adaptive_avg_pool2d", "default", "self, output_size", convolution::adaptive_average_pool),
    ("adaptive_avg_pool3d", "default", "self, output_size", convolution::adaptive_average_pool),
    ("_adaptive_avg_pool2d", "default", "self, output_size", convolution::adaptive_average_pool),
    ("_adaptive_avg_pool3d", "default", "self, output_size", convolution::adaptive_average_pool),
    ("adaptive_max_pool1d", "default", "self, output_size", convolution::adaptive_maximum_pool),
    ("adaptive_max_pool2d", "default", "self, output_size", convolution::adaptive_maximum_pool),
    ("adaptive_max_pool3d", "default", "self, output_size", convolution::adaptive_maximum_pool),
    ("upsample_nearest1d", "default", "self, output_size, scales=None", convolution::upsample),
    ("upsample_nearest1d", "vec", "self, output_size, scale_factors", convolution::upsample),
    ("upsample_nearest2d", "default", "self, output_size, scales_h=None, scales_w=None", convolution::upsample),
    ("upsample_nearest2d", "vec", "self, output_size, scale_factors", convolution::upsample),
    (
        "upsample_nearest3d",
        "default",
        "self, output_size, scales_d=None, scales_h=None, scales_w=None",
        convolution::upsample,
    ),
    ("upsample_nearest3d", "vec", "self, output_size, scale_factors", convolution::upsample),
    ("_upsample_nearest_exact1d", "default", "self, output_size, scales=None", convolution::upsample),
    ("_upsample_nearest_exact1d", "vec", "self, output_size, scale_factors", convolution::upsample),
    ("_upsample_nearest_exact2d", "default", "self, output_size, scales_h=None, scales_w=None", convolution::upsample),
    ("_upsample_nearest_exact2d", "vec", "self, output_size, scale_factors", convolution::upsample),
    (
        "_upsample_nearest_exact3d",
        "default",
        "self, output_size, scales_d=None, scales_h=None, scales_w=None",
        convolution::upsample,
    ),
    ("_upsample_nearest_exact3d", "vec", "self, output_size, scale_factors", convolution::upsample),
    ("upsample_linear1d", "default", "self, output_size, align_corners, scales=None", convolution::upsample),
    ("upsample_linear1d", "vec", "self, output_size, align_corners, scale_factors", convolution::upsample),
    (
        "upsample_bilinear2d",
        "default",
        "self, output_size, align_corners, scales_h=None, scales_w=None",
        convolution::upsample,
    ),
    ("upsample_bilinear2d", "vec", "self, output_size, align_corners, scale_factors", convolution::upsample),
    (
        "upsample_trilinear3d",
        "default",
        "self, output_size, align_corners, scales_d=None, scales_h=None, scales_w=None",
        convolution::upsample,
    ),
    ("upsample_trilinear3d", "vec", "self, output_size, align_corners, scale_factors", convolution::upsample),
    (
        "upsample_bicubic2d",
        "default",
        "self, output_size, align_corners, scales_h=None, scales_w=None",
        convolution::upsample,
    ),
    ("upsample_bicubic2d", "vec", "self, output_size, align_corners, scale_factors", convolution::upsample),
    ("im2col", "default", "self, kernel_size, dilation, padding, stride", convolution::unfold),
    ("col2im", "default", "self, output_size, kernel_size, dilation, padding, stride", convolution::fold),
    ("pixel_shuffle", "default", "self, upscale_factor", convolution::pixel_shuffle),
    (
        "batch_norm",
        "default",
        "input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled",
        normalization::batch_norm,
    ),
    (
        "_native_batch_norm_legit",
        "default",
        "input, weight, bias, running_mean, running_var, training, momentum, eps",
        normalization::native_batch_norm,
    ),
    (
        "_native_batch_norm_legit",
        "no_stats",
        "input, weight, bias, training, momentum, eps",
        normalization::native_batch_norm,
    ),
    (
        "_native_batch_norm_legit_no_training",
        "default",
        "input, weight, bias, running_mean, running_var, momentum, eps",
        normalization::native_batch_norm_evaluated,
    ),
    (
        "_native_batch_norm_legit_functional",
        "default",
        "input, weight, bias, running_mean, running_var, training, momentum, eps",
        normalization::native_batch_norm_functional,
    ),
    (
        "instance_norm",
        "default",
        "input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, cudnn_enabled",
        normalization::instance_norm,
    ),
    (
        "layer_norm",
        "default",
        "input, normalized_shape, weight=None, bias=None, eps=1e-05, cudnn_enable=True",
        normalization::layer_norm,
    ),
    ("native_layer_norm", "default", "input, normalized_shape, weight, bias, eps", normalization::native_layer_norm),
    ("rms_norm", "default", "input, normalized_shape, weight=None, eps=None", normalization::rms_norm),
    (
        "group_norm",
        "default",
        "input, num_groups, weight=None, bias=None, eps=1e-05, cudnn_enabled=True",
        normalization::group_norm,
    ),
    ("native_group_norm", "default", "input, weight, bias, N, C, HxW, group, eps", normalization::native_group_norm),
    ("softmax", "int", "self, dim, dtype=None", normalization::softmax),
    ("_softmax", "default", "self, dim, half_to_float", normalization::softmax),
    ("log_softmax", "int", "self, dim, dtype=None", normalization::log_softmax),
    ("_log_softmax", "default", "self, dim, half_to_float", normalization::log_softmax),
    ("glu", "default", "self, dim=-1", normalization::glu),
    ("prelu", "default", "self, weight", normalization::prelu),
    ("_prelu_kernel", "default", "self, weight", normalization::prelu),
    ("sum", "default", "self, dtype=None", reduction::sum),
    ("sum", "dim_IntList", "self, dim, keepdim=False, dtype=None", reduction::sum),
    ("mean", "default", "self, dtype=None", reduction::mean),
    ("mean", "dim", "self, dim, keepdim=False, dtype=None", reduction::mean),
    ("var", "default", "self, unbiased=True", reduction::variance),
    ("var", "dim", "self, dim, unbiased=True, keepdim=False", reduction::variance),
    ("var", "correction", "self, dim=None, correction=None, keepdim=False", reduction::variance),
    ("std", "default", "self, unbiased=True", reduction::deviation),
    ("std", "dim", "self, dim, unbiased=True, keepdim=False", reduction::deviation),
    ("std", "correction", "self, dim=None, correction=None, keepdim=False", reduction::deviation),
    ("var_mean", "default", "self, unbiased=True", reduction::variance_and_mean),
    ("var_mean", "dim", "self, dim, unbiased=True, keepdim=False", reduction::variance_and_mean),
    ("var_mean", "correction", "self, dim=None, correction=None, keepdim=False", reduction::variance_and_mean),
    ("linalg_vector_norm", "default", "self, ord=2, dim=None, keepdim=False, dtype=None", reduction::vector_norm),
    ("norm", "ScalarOpt_dim", "self, ord, dim, keepdim=False", reduction::vector_norm),
    ("norm", "Scalar", "self, ord=2", reduction::vector_norm),
    ("any", "default", "self", reduction::any),
    ("any", "dim", "self, dim, keepdim=False", reduction::any),
    ("any", "dims", "self, dim=None, keepdim=False", reduction::any),
    ("all", "default", "self", reduction::all),
    ("all", "dim", "self, dim, keepdim=False", reduction::all),
    ("cumsum", "default", "self, dim, dtype=None", reduction::cumulative_sum),
    (
        "embedding",
        "default",
        "weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False",
        views::embedding,
    ),
    ("linear", "default", "input, weight, bias=None", product::linear),
    ("addmm", "default", "self, mat1, mat2, beta=1, alpha=1", product::added),
    ("baddbmm", "default", "self, batch1, batch2, beta=1, alpha=1", product::added),
    ("addmv", "default", "self, mat, vec, beta=1, alpha=1", product::added),
    ("mm", "default", "self, mat2", product::matmul),
    ("bmm", "default", "self, mat2", product::matmul),
    ("matmul", "default", "self, other", product::matmul),
    ("mv", "default", "self, vec", product::matmul),
    ("dot", "default", "self, tensor", product::matmul),
    (
        "scaled_dot_product_attention",
        "default",
        "query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False",
        product::attention,
    ),
    (
        "_scaled_dot_product_flash_attention_for_cpu",
        "default",
        "query, key, value, dropout_p=0.0, is_causal=False, attn_mask=None, scale=None",
        product::attention_with_sums,
    ),
    ("addcmul", "default", "self, tensor1, tensor2, value=1", elementwise::addcmul),
    ("addcdiv", "default", "self, tensor1, tensor2, value=1", elementwise::addcdiv),
    ("lerp", "Scalar Tensor", "self, end, weight", elementwise::lerp),
    ("channel_shuffle", "default", "self, groups", convolution::channel_shuffle),
    ("native_channel_shuffle", "default", "self, groups", convolution::channel_shuffle),
    ("_unsafe_index", "Tensor", "self, indices", places::index),
    ("einsum", "default", "equation, tensors, path=None", product::einsum),
    (
        "lstm",
        "input",
        "input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first",
        recurrent::lstm,
    ),
    (
        "gru",
        "input",
        "input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first",
        recurrent::gru,
    ),
    (
        "rnn_tanh",
        "input",
        "input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first",
        recurrent::rnn,
    ),
    (
        "rnn_relu",
        "input",
        "input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first",
        recurrent::rnn,
    ),
    ("lstm_cell", "default", "input, hx, w_ih, w_hh, b_ih=None, b_hh=None", recurrent::step),
    ("gru_cell", "default", "input, hx, w_ih, w_hh, b_ih=None, b_hh=None", recurrent::step),
    ("rnn_tanh_cell", "default", "input, hx, w_ih, w_hh, b_ih=None, b_hh=None", recurrent::step),
    ("rnn_relu_cell", "default", "input, hx, w_ih, w_hh, b_ih=None, b_hh=None", recurrent::step),
    ("_weight_norm", "default", "v, g, dim=0", reduction::weight_norm),
    ("_weight_norm_interface", "default", "v, g, dim=0", reduction::weight_norm_with_norm),
    (
        "embedding_bag",
        "default padding_idx",
        "weight, indices, offsets, scale_grad_by_freq=False, mode=0, sparse=False, per_sample_weights=None, include_last_offset=False, padding_idx=None",
        places::embedding_bag,
    ),
    (
        "_embedding_bag",
        "default",
        "weight, indices, offsets, scale_grad_by_freq=False, mode=0, sparse=False, per_sample_weights=None, include_last_offset=False, padding_idx=-1",
        places::embedding_bag,
    ),
    ("full", "default", "size, fill_value, dtype=None, layout=None, device=None, pin_memory=None", create::full),
    ("zeros", "default", "size, dtype=None, layout=None, device=None, pin_memory=None", create::zeros),
    ("ones", "default", "size, dtype=None, layout=None, device=None, pin_memory=None", create::ones),
    (
        "zeros_like",
        "default",
        "self, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None",
        create::zeros_like,
    ),
    ("new_zeros", "default", "self, size, dtype=None, layout=None, device=None, pin_memory=None", create::zeros_like),
    (
        "ones_like",
        "default",
        "self, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None",
        create::ones_like,
    ),
    ("new_ones", "default", "self, size, dtype=None, layout=None, device=None, pin_memory=None", create::ones_like),
    (
        "full_like",
        "default",
        "self, fill_value, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None",
        create::full_like,
    ),
    (
        "new_full",
        "default",
        "self, size, fill_value, dtype=None, layout=None, device=None, pin_memory=None",
        create::full_like,
    ),
    ("scalar_tensor", "default", "s, dtype=None, layout=None, device=None, pin_memory=None", create::scalar_tensor),
    ("arange", "default", "end, dtype=None, layout=None, device=None, pin_memory=None", create::arange),
    ("arange", "start", "start, end, dtype=None, layout=None, device=None, pin_memory=None", create::arange),
    (
        "arange",
        "start_step",
        "start, end, step=1, dtype=None, layout=None, device=None, pin_memory=None",
        create::arange,
    ),
    (
        "linspace",
        "default",
        "start, end, steps, dtype=None, layout=None, device=None, pin_memory=None",
        create::linspace,
    ),
    (
        "logspace",
        "default",
        "start, end, steps, base=10.0, dtype=None, layout=None, device=None, pin_memory=None",
        create::logspace,
    ),
    ("eye", "default", "n, dtype=None, layout=None, device=None, pin_memory=None", create::eye),
    ("eye", "m", "n, m, dtype=None, layout=None, device=None, pin_memory=None", create::eye),
    ("tril", "default", "self, diagonal=0", create::lower_triangle),
    ("triu", "default", "self, diagonal=0", create::upper_triangle),
    ("item", "default", "self", create::item),
    ("_local_scalar_dense", "default", "self", create::item),
    ("slice_scatter", "default", "self, src, dim=0, start=None, end=None, step=1", views::slice_scatter),
    ("select_scatter", "default", "self, src, dim, index", views::select_scatter),
    ("cat", "default", "tensors, dim=0", views::cat),
    ("concat", "default", "tensors, dim=0", views::cat),
    ("concatenate", "default", "tensors, dim=0", views::cat),
    ("stack", "default", "tensors, dim=0", views::stack),
    ("repeat", "default", "self, repeats", views::repeat),
    ("roll", "default", "self, shifts, dims=[]", views::roll),
    ("flip", "default", "self, dims", views::flip),
    ("index", "Tensor", "self, indices", places::index),
    ("index_select", "default", "self, dim, index", views::index_select),
    ("constant_pad_nd", "default", "self, pad, value=0", views::constant_pad),
    ("pad", "default", "self, pad, mode='constant', value=None", views::pad),
    ("reflection_pad1d", "default", "self, padding", views::reflection_pad),
    ("reflection_pad2d", "default", "self, padding", views::reflection_pad),
    ("reflection_pad3d", "default", "self, padding", views::reflection_pad),
    ("replication_pad1d", "default", "self, padding", views::replication_pad),
    ("replication_pad2d", "default", "self, padding", views::replication_pad),
    ("replication_pad3d", "default", "self, padding", views::replication_pad),
    ("amax", "default", "self, dim=[], keepdim=False", extremes::amax),
    ("amin", "default", "self, dim=[], keepdim=False", extremes::amin),
    ("aminmax", "default", "self, dim=None, keepdim=False", extremes::aminmax),
    ("max", "default", "self", extremes::amax),
    ("max", "dim", "self, dim, keepdim=False", extremes::maximum_with_places),
    ("max", "other", "self, other", elementwise::maximum),
    ("min", "default", "self", extremes::amin),
    ("min", "dim", "self, dim, keepdim=False", extremes::minimum_with_places),
    ("min", "other", "self, other", elementwise::minimum),
    ("fmax", "default", "self, other", elementwise::maximum),
    ("fmin", "default", "self, other", elementwise::minimum),
    ("argmax", "default", "self, dim=None, keepdim=False", extremes::argmax),
    ("argmin", "default", "self, dim=None, keepdim=False", extremes::argmin),
    ("sort", "default", "self, dim=-1, descending=False", extremes::sort),
    ("sort", "stable", "self, stable, dim=-1, descending=False", extremes::sort),
    ("topk", "default", "self, k, dim=-1, largest=True, sorted=True", extremes::topk),
    ("kthvalue", "default", "self, k, dim=-1, keepdim=False", extremes::kthvalue),
    ("median", "default", "self", extremes::median),
    ("median", "dim", "self, dim, keepdim=False", extremes::median),
    ("logsumexp", "default", "self, dim, keepdim=False", extremes::log_sum_exp),
    ("prod", "default", "self, dtype=None", extremes::product),
    ("prod", "dim_int", "self, dim, keepdim=False, dtype=None", extremes::product),
    ("cumprod", "default", "self, dim, dtype=None", extremes::cumulative_product),
    ("cummax", "default", "self, dim", extremes::cumulative_maximum),
    ("cummin", "default", "self, dim", extremes::cumulative_minimum),
    ("clamp", "Tensor", "self, min=None, max=None", elementwise::clamp),
    ("clip", "default Tensor", "self, min=None, max=None", elementwise::clamp),
    ("clamp_min", "Tensor", "self, min", elementwise::clamp),
    ("clamp_max", "Tensor", "self, max", elementwise::clamp),
    ("gather", "default", "self, dim, index, sparse_grad=False", places::gather),
    ("take", "default", "self, index", places::take),
    ("take_along_dim", "default", "self, indices, dim=None", places::take_along_dim),
    ("index_put", "default", "self, indices, values, accumulate=False", places::index_put),
    ("_unsafe_index_put", "default", "self, indices, values, accumulate=False", places::index_put),
    ("index_add", "default", "self, dim, index, source, alpha=1", places::index_add),
    ("index_copy", "default", "self, dim, index, source", places::index_copy),
    ("index_fill", "int_Scalar int_Tensor", "self, dim, index, value", places::index_fill),
    ("scatter", "src", "self, dim, index, src", places::scatter),
    ("scatter", "value", "self, dim, index, value", places::scatter),
    ("scatter_add", "default", "self, dim, index, src", places::scatter_add),
    ("scatter_reduce", "two", "self, dim, index, src, reduce, include_self=True", places::scatter_reduce),
    ("masked_scatter", "default", "self, mask, source", places::masked_scatter),
    ("diagonal_scatter", "default", "self, src, offset=0, dim1=0, dim2=1", places::diagonal_scatter),
    ("as_strided_scatter", "default", "self, src, size, stride, storage_offset=None", places::as_strided_scatter),
    ("diag_embed", "default", "self, offset=0, dim1=-2, dim2=-1", places::diag_embed),
    ("diag", "default", "self, diagonal=0", places::diag),
    ("one_hot", "default", "self, num_classes=-1", places::one_hot),
    (
        "repeat_interleave",
        "self_int self_Tensor",
        "self, repeats, dim=None, output_size=None",
        places::repeat_interleave,
    ),
    ("repeat_interleave", "Tensor", "repeats, output_size=None", places::repeat_interleave),
    (
        "tril_indices",
        "default",
        "row, col, offset=0, dtype=None, layout=None, device=None, pin_memory=None",
        places::triangle_indices,
    ),
    (
        "triu_indices",
        "default",
        "row, col, offset=0, dtype=None, layout=None, device=None, pin_memory=None",
        places::triangle_indices,
    ),
    ("broadcast_tensors", "default", "tensors", views::broadcast_tensors),
    ("meshgrid", "default", "tensors", views::meshgrid),
    ("meshgrid", "indexing", "tensors, indexing", views::meshgrid),
    ("tile", "default", "self, dims", views::tile),
    ("hstack", "default", "tensors", views::stacked),
    ("vstack", "default", "tensors", views::stacked),
    ("row_stack", "default", "tensors", views::stacked),
    ("dstack", "default", "tensors", views::stacked),
    ("column_stack", "default", "tensors", views::stacked),
    ("diff", "default", "self, n=1, dim=-1, prepend=None, append=None", views::difference),
    ("linalg_norm", "default", "self, ord=None, dim=None, keepdim=False, dtype=None", reduction::any_norm),
    ("linalg_matrix_norm", "str_ord", "self, ord='fro', dim=[-2, -1], keepdim=False, dtype=None", reduction::any_norm),
    ("rot90", "default", "self, k=1, dims=[0, 1]", views::rot90),
    (
        "empty",
        "memory_format",
        "size, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None",
        create::zeros,
    ),
    (
        "empty_like",
        "default",
        "self, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None",
        create::zeros_like,
    ),
    ("new_empty", "default", "self, size, dtype=None, layout=None, device=None, pin_memory=None", create::zeros_like),
    (
        "empty_permuted",
        "default",
        "size, physical_layout, dtype=None, layout=None, device=None, pin_memory=None",
        create::zeros,
    ),
    ("clone", "default", "self, memory_format=None", views::same),
    ("lift_fresh_copy", "default", "self", views::same),
    ("detach_copy", "default", "self", elementwise::detach),
    ("sym_size", "int", "self, dim", views::sym_size),
    ("sym_numel", "default", "self", views::sym_numel),
];

/// Operations whose results share the memory of their first operand.
const VIEWS: &[Entry] = &[
    ("to", "dtype", "self, dtype, non_blocking=False, copy=False, memory_format=None", elementwise::to_dtype),
    (
        "to",
        "dtype_layout",
        "self, dtype=None, layout=None, device=None, pin_memory=None, non_blocking=False, copy=False, memory_format=None",
        elementwise::to_dtype,
    ),
    ("to", "device", "self, device, dtype, non_blocking=False, copy=False, memory_format=None", elementwise::to_dtype),
    ("to", "other", "self, other, non_blocking=False, copy=False, memory_format=None", elementwise::to_other),
    ("type_as", "default", "self, other", elementwise::to_other),
    ("permute", "default", "self, dims", views::permute),
    ("transpose", "int", "self, dim0, dim1", views::transpose),
    ("swapaxes", "default", "self, dim0, dim1", views::transpose),
    ("swapdims", "default", "self, dim0, dim1", views::transpose),
    ("t", "default", "self", views::t),
    ("mT", "default", "self", views::matrix_transpose),
    ("movedim", "intlist int", "self, source, destination", views::movedim),
    ("view", "default", "self, size", views::reshape),
    ("reshape", "default", "self, size", views::reshape),
    ("_unsafe_view", "default", "self, size", views::reshape),
    ("view_as", "default", "self, other", views::reshape_as),
    ("reshape_as", "default", "self, other", views::reshape_as),
    ("flatten", "using_ints", "self, start_dim=0, end_dim=-1", views::flatten),
    ("unflatten", "int", "self, dim, sizes", views::unflatten),
    ("unsqueeze", "default", "self, dim", views::unsqueeze),
    ("squeeze", "default", "self", views::squeeze),
    ("squeeze", "dim dims", "self, dim", views::squeeze),
    ("slice", "Tensor", "self, dim=0, start=None, end=None, step=1", views::slice),
    ("narrow", "default", "self, dim, start, length", views::narrow),
    ("select", "int", "self, dim, index", views::select),
    ("split_with_sizes", "default", "self, split_sizes, dim=0", views::split_with_sizes),
    ("split", "sizes", "self, split_sizes, dim=0", views::split_with_sizes),
    ("split", "Tensor", "self, split_size, dim=0", views::split),
    ("tensor_split", "sections", "self, sections, dim=0", views::tensor_split),
    ("chunk", "default", "self, chunks, dim=0", views::chunk),
    ("unbind", "int", "self, dim=0", views::unbind),
    ("expand", "default", "self, size, implicit=False", views::expand),
    ("expand_as", "default", "self, other", views::expand_as),
    ("as_strided", "default", "self, size, stride, storage_offset=None", places::as_strided),
    ("diagonal", "default", "self, offset=0, dim1=0, dim2=1", places::diagonal),
    ("unfold", "default", "self, dimension, size, step", places::windows),
    ("numpy_T", "default", "self", views::reversed),
    ("mH", "default", "self", views::matrix_transpose),
    ("adjoint", "default", "self", views::matrix_transpose),
    ("ravel", "default", "self", views::ravel),
    ("moveaxis", "intlist int", "self, source, destination", views::movedim),
    ("broadcast_to", "default", "self, size", views::expand),
    ("tensor_split", "indices", "self, indices, dim=0", views::tensor_split_at),
    ("unsafe_chunk", "default", "self, chunks, dim=0", views::chunk),
    ("unsafe_split", "Tensor", "self, split_size, dim=0", views::split),
    ("unsafe_split_with_sizes", "default", "self, split_sizes, dim=0", views::split_with_sizes),
    ("alias", "default", "self", views::same),
    ("contiguous", "default", "self, memory_format=0", views::same),
    ("detach", "default", "self", elementwise::detach),
    ("lift_fresh", "default", "self", views::same),
    ("dropout", "default", "input, p, train", views::dropout),
    ("feature_dropout", "default", "input, p, train", views::dropout),
    ("alpha_dropout", "default", "input, p, train", views::dropout),
    ("feature_alpha_dropout", "default", "input, p, train", views::dropout),
];

/// Operations that are made of others.
const COMPOSED: &[Formula] = &[
    ("outer", "default", "self, vec2", "mul.Tensor(unsqueeze(self, 1), unsqueeze(vec2, 0))"),
    ("ger", "default", "self, vec2", "outer(self, vec2)"),
    ("positive", "default", "self", "mul.Tensor(self, 1)"),
    ("deg2rad", "default", "self", "mul.Tensor(self, 0.017453292519943295)"),
    ("rad2deg", "default", "self", "mul.Tensor(self, 57.29577951308232)"),
    ("frac", "default", "self", "sub.Tensor(self, trunc(self))"),
    ("erfc", "default", "self", "rsub.Scalar(erf(self), 1)"),
    ("special_erfc", "default", "self", "erfc(self)"),
    ("special_expit", "default", "self", "sigmoid(self)"),
    ("special_exp2", "default", "self", "exp2(self)"),
    ("special_ndtr", "default", "self", "mul.Tensor(add.Tensor(erf(mul.Tensor(self, 0.7071067811865476)), 1), 0.5)"),
    ("special_logsumexp", "default", "self, dim, keepdim=False", "logsumexp(self, dim, keepdim)"),
    (
        "asinh",
        "default",
        "self",
        "mul.Tensor(sign(self), log1p(add.Tensor(abs(self), div.Tensor(square(self), add.Tensor(sqrt(add.Tensor(square(self), 1)), 1)))))",
    ),
    ("acosh", "default", "self", "log(add.Tensor(self, sqrt(mul.Tensor(sub.Tensor(self, 1), add.Tensor(self, 1)))))"),
    ("hypot", "default", "self, other", "sqrt(add.Tensor(square(self), square(other)))"),
    (
        "sinc",
        "default",
        "self",
        "where.self(eq.Scalar(self, 0), 1.0, div.Tensor(sin(mul.Tensor(self, 3.141592653589793)), mul.Tensor(where.self(eq.Scalar(self, 0), 1.0, self), 3.141592653589793)))",
    ),
    (
        "atan2",
        "default",
        "self, other",
        "where.self(gt.Scalar(other, 0), atan(div.Tensor(self, where.self(gt.Scalar(other, 0), other, 1.0))), sub.Tensor(where.self(lt.Scalar(self, 0), -1.5707963267948966, 1.5707963267948966), atan(div.Tensor(other, where.self(gt.Scalar(other, 0), 1.0, self)))))",
    ),
    ("logit", "default", "self, eps=None", "sub.Tensor(log(clamp(self, eps)), log1p(neg(clamp(self, eps))))"),
    (
        "xlogy",
        "Tensor Scalar_Self Scalar_Other",
        "self, other",
        "where.self(eq.Scalar(self, 0), 0.0, mul.Tensor(self, log(where.self(eq.Scalar(self, 0), 1.0, other))))",
    ),
    ("special_xlogy", "default", "self, other", "xlogy.Tensor(self, other)"),
    ("special_entr", "default", "self", "neg(xlogy.Tensor(self, self))"),
    ("logaddexp", "default", "self, other", "logsumexp(stack(broadcast_tensors([self, other]), 0), [0])"),
    (
        "heaviside",
        "default",
        "self, values",
        "where.self(gt.Scalar(self, 0), 1.0, where.self(eq.Scalar(self, 0), values, 0.0))",
    ),
    ("isfinite", "default", "self", "logical_not(logical_or(isnan(self), isinf(self)))"),
    (
        "addr",
        "default",
        "self, vec1, vec2, beta=1, alpha=1",
        "add.Tensor(mul.Tensor(self, beta), outer(vec1, vec2), alpha)",
    ),
    (
        "addbmm",
        "default",
        "self, batch1, batch2, beta=1, alpha=1",
        "add.Tensor(mul.Tensor(self, beta), sum.dim_IntList(bmm(batch1, batch2), [0]), alpha)",
    ),
    ("vdot", "default", "self, other", "dot(self, other)"),
    ("inner", "default", "self, other", "linear(self, other)"),
    ("linalg_vecdot", "default", "x, y, dim=-1", "sum.dim_IntList(mul.Tensor(x, y), [dim])"),
    ("frobenius_norm", "dim", "self, dim, keepdim=False", "linalg_vector_norm(self, 2, dim, keepdim)"),
    ("dist", "default", "self, other, p=2", "linalg_vector_norm(sub.Tensor(self, other), p)"),
    (
        "pairwise_distance",
        "default",
        "x1, x2, p=2, eps=1e-06, keepdim=False",
        "linalg_vector_norm(add.Tensor(sub.Tensor(x1, x2), eps), p, -1, keepdim)",
    ),
    (
        "cdist",
        "default",
        "x1, x2, p=2.0, compute_mode=None",
        "linalg_vector_norm(sub.Tensor(unsqueeze(x1, -2), unsqueeze(x2, -3)), p, -1)",
    ),
    ("_cdist_forward", "default", "x1, x2, p, compute_mode", "cdist(x1, x2, p)"),
    ("_euclidean_dist", "default", "x1, x2", "cdist(x1, x2)"),
    (
        "cosine_similarity",
        "default",
        "x1, x2, dim=1, eps=1e-08",
        "div.Tensor(sum.dim_IntList(mul.Tensor(x1, x2), [dim]), mul.Tensor(clamp_min(linalg_vector_norm(x1, 2, dim), eps), clamp_min(linalg_vector_norm(x2, 2, dim), eps)))",
    ),
    ("std_mean", "default", "self, unbiased=True", "[std(self, unbiased), mean(self)]"),
    (
        "std_mean",
        "dim",
        "self, dim, unbiased=True, keepdim=False",
        "[std.dim(self, dim, unbiased, keepdim), mean.dim(self, dim, keepdim)]",
    ),
    (
        "std_mean",
        "correction",
        "self, dim=None, correction=None, keepdim=False",
        "[std.correction(self, dim, correction, keepdim), mean.dim(self, dim, keepdim)]",
    ),
    ("count_nonzero", "default", "self, dim=None", "sum.dim_IntList(ne.Scalar(self, 0), dim)"),
    ("count_nonzero", "dim_IntList", "self, dim", "sum.dim_IntList(ne.Scalar(self, 0), dim)"),
    ("trace", "default", "self", "sum(diagonal(self))"),
    ("argsort", "default", "self, dim=-1, descending=False", "sort(self, dim, descending)[1]"),
    ("argsort", "stable", "self, stable, dim=-1, descending=False", "sort(self, dim, descending)[1]"),
    ("msort", "default", "self", "sort(self, 0)[0]"),
    ("fliplr", "default", "self", "flip(self, [1])"),
    ("flipud", "default", "self", "flip(self, [0])"),
];

/// The same, whose results share the memory of their first operand.
const COMPOSED_VIEWS: &[Formula] = &[
    ("hsplit", "int", "self, sections", "tensor_split.sections(self, sections, 1)"),
    ("vsplit", "int", "self, sections", "tensor_split.sections(self, sections, 0)"),
    ("vsplit", "array", "self, indices", "tensor_split.indices(self, indices, 0)"),
];

/// Operations of Python and torch on sizes, and assertions about them.
const SIZES: &[Entry] = &[
    ("add", "", "a, b", elementwise::sym_arithmetic),
    ("sub", "", "a, b", elementwise::sym_arithmetic),
    ("mul", "", "a, b", elementwise::sym_arithmetic),
    ("truediv", "", "a, b", elementwise::sym_arithmetic),
    ("floordiv", "", "a, b", elementwise::sym_arithmetic),
    ("mod", "", "a, b", elementwise::sym_arithmetic),
    ("pow", "", "a, b", elementwise::sym_arithmetic),
    ("eq", "", "a, b", elementwise::sym_arithmetic),
    ("ne", "", "a, b", elementwise::sym_arithmetic),
    ("lt", "", "a, b", elementwise::sym_arithmetic),
    ("le", "", "a, b", elementwise::sym_arithmetic),
    ("gt", "", "a, b", elementwise::sym_arithmetic),
    ("ge", "", "a, b", elementwise::sym_arithmetic),
    ("sym_max", "", "a, b", elementwise::sym_arithmetic),
    ("sym_min", "", "a, b", elementwise::sym_arithmetic),
    ("neg", "", "self", elementwise::neg),
];

const ASSERTIONS: &[Entry] = &[
    ("_assert_scalar", "default", "self, message", elementwise::ignore),
    ("_assert_async", "default msg", "self, message=None", elementwise::ignore),
    (
        "_assert_tensor_metadata",
        "default",
        "a, size=None, stride=None, dtype=None, device=None, layout=None",
        elementwise::ignore,
    ),
    ("sym_constrain_range", "default", "size, min=None, max=None", elementwise::ignore),
    ("sym_constrain_range_for_size", "default", "size, min=None, max=None", elementwise::ignore),
];

/// An operation with its parameters.
pub(in crate::load) struct Operation {
    /// Its name without namespace and overload.
    pub name: &'static str,
    /// The names of its parameters, each with its default as ATen writes it.
    pub(super) parameters: Vec<(&'static str, Option<&'static str>)>,
    behaviour: Behaviour,
    pub(super) is_view: bool,
}

/// How an operation becomes nodes of the graph.
#[derive(Clone, Copy)]
enum Behaviour {
    Rule(Rule),
    Formula(&'static str),
}

impl Operation {
    /// The result for arguments in the order of the parameters; `name` is what a known result is called.
    pub(super) fn run(&self, context: &mut Context, arguments: Vec<Item>, name: &Rc<str>) -> Result<Item> {
        let parameters: Vec<&'static str> = self.parameters.iter().map(|parameter| parameter.0).collect();
        let mut call = Call { context, operation: self.name, parameters: &parameters, arguments, name: name.clone() };
        match self.behaviour {
            Behaviour::Rule(rule) => rule(&mut call),
            Behaviour::Formula(text) => formula::evaluate(&mut call, text),
        }
    }

    /// The names of its parameters, each with whether it may be left out.
    pub fn parameters(&self) -> impl Iterator<Item = (&'static str, bool)> {
        self.parameters.iter().map(|&(name, default)| (name, default.is_some()))
    }
}

/// An operation that a program names.
#[derive(Clone, Copy)]
pub(in crate::load) struct Target {
    pub operation: &'static Operation,
    /// Whether the result takes the first operand's place.
    pub in_place: bool,
}

/// Operations by name and overload, `add.Tensor`; those on sizes have no overload, `mul.`.
type Index = HashMap<String, Operation>;

fn index() -> &'static Index {
    static INDEX: OnceLock<Index> = OnceLock::new();
    INDEX.get_or_init(|| {
        let mut index = HashMap::new();
        let mut add = |name: &'static str, overloads: &str, parameters: &'static str, behaviour, is_view| {
            for overload in overloads.split(' ') {
                let operation = Operation { name, parameters: split(parameters).collect(), behaviour, is_view };
                index.insert(format!("{name}.{overload}"), operation);
            }
        };
        for (table, is_view) in [(NEW, false), (VIEWS, true), (SIZES, false), (ASSERTIONS, false)] {
            for &(name, overloads, parameters, rule) in table {
                add(name, overloads, parameters, Behaviour::Rule(rule), is_view);
            }
        }
        for (table, is_view) in [(COMPOSED, false), (COMPOSED_VIEWS, true)] {
            for &(name, overloads, parameters, text) in table {
                add(name, overloads, parameters, Behaviour::Formula(text), is_view);
            }
        }
        index
    })
}

/// The parameters of a declaration: names, each with its default.
fn split(declaration: &'static str) -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    let mut rest = declaration;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut depth = 0;
        let end = rest.find(|c: char| {
            depth += i32::from(c == '[') - i32::from(c == ']');
            c == ',' && depth == 0
        });
        let (one, others) = rest.split_at(end.unwrap_or(rest.len()));
        rest = others.trim_start_matches([',', ' ']);
        Some(one.split_once('=').map_or((one, None), |(name, default)| (name, Some(default))))
    })
}

/// A default as ATen writes it.
pub(super) fn literal(text: &str) -> Item {
    match text {
        "None" => Item::None,
        "True" => Item::Bool(true),
        "False" => Item::Bool(false),
        _ => {
            if let Some(list) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
                return Item::List(list.split(", ").filter(|text| !text.is_empty()).map(literal).collect());
            }
            if let Some(text) = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
                return Item::Text(text.into());
            }
            let float = || text.parse().map_or(Item::None, Item::Float);
            text.parse().map_or_else(|_| float(), Item::Int)
        }
    }
}

/// An argument for each parameter.
pub(super) fn bind(operation: &Operation, given: Vec<(&str, Item)>) -> Result<Vec<Item>> {
    let mut slots: Vec<Option<Item>> = vec![None; operation.parameters.len()];
    for (place, (name, item)) in given.into_iter().enumerate() {
        let named = operation.parameters.iter().position(|parameter| parameter.0 == name);
        let slot = slots.get_mut(named.unwrap_or(place)).filter(|slot| slot.is_none());
        let slot =
            slot.ok_or_else(|| Error::format(format!("argument `{name}` is given twice, or is one too many")))?;
        *slot = Some(item);
    }
    let missing = |(slot, &(name, default)): (Option<Item>, &(&str, Option<&str>))| {
        slot.or_else(|| default.map(literal)).ok_or_else(|| Error::format(format!("argument `{name}` is missing")))
    };
    slots.into_iter().zip(&operation.parameters).map(missing).collect()
}

/// The operation of a name as programs write it: `torch.ops.aten.add.Tensor`, `_operator.mul`. An operation that writes in
/// place is the one without the underscore at its end.
pub(in crate::load) fn find(target: &str) -> Option<Target> {
    let found = |name: &str, overload: &str, in_place| {
        index().get(&format!("{name}.{overload}")).map(|operation| Target { operation, in_place })
    };
    let Some(rest) = target.strip_prefix("torch.ops.aten.") else {
        let name = target.strip_prefix("_operator.").or_else(|| target.strip_prefix("torch."))?;
        return found(name, "", false);
    };
    let (name, overload) = rest.split_once('.').unwrap_or((rest, "default"));
    let in_place = || name.strip_suffix('_').and_then(|name| found(name, overload, true));
    found(name, overload, false).or_else(in_place)
}

/// The forms of an operation that is named without its overload, `add_`; those that differ in nothing but types once.
pub(in crate::load) fn overloads(name: &str) -> Vec<Target> {
    let forms = |name: &str, in_place| -> Vec<Target> {
        let rules = NEW.iter().chain(VIEWS).map(|entry| (entry.0, entry.1));
        let formulas = COMPOSED.iter().chain(COMPOSED_VIEWS).map(|entry| (entry.0, entry.1));
        let entries = rules.chain(formulas).filter(|entry| entry.0 == name);
        let operation = |entry: (&str, &str)| {
            let first = entry.1.split(' ').next().unwrap_or_default();
            index().get(&format!("{name}.{first}")).map(|operation| Target { operation, in_place })
        };
        entries.filter_map(operation).collect()
    };
    let found = forms(name, false);
    match name.strip_suffix('_') {
        Some(plain) if found.is_empty() => forms(plain, true),
        _ => found,
    }
}

/// Every operation that has a formula, with it.
#[cfg(test)]
pub(super) fn formulas() -> impl Iterator<Item = (&'static Operation, &'static str)> {
    index().values().filter_map(|operation| match operation.behaviour {
        Behaviour::Formula(text) => Some((operation, text)),
        Behaviour::Rule(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_reads_the_declarations_of_the_table() {
        let parameters = |target: &str| find(target).unwrap().operation.parameters.clone();
        assert_eq!(
            parameters("torch.ops.aten.clamp.default"),
            [("self", None), ("min", Some("None")), ("max", Some("None"))]
        );
        let stride = parameters("torch.ops.aten.conv2d.default")[3];
        assert_eq!(stride, ("stride", Some("[1, 1]")));
        assert!(matches!(literal("[1, 1]"), Item::List(items) if matches!(items[..], [Item::Int(1), Item::Int(1)])));
        assert!(matches!(literal("1e-05"), Item::Float(value) if value == 1e-5));
        assert!(matches!(literal("'none'"), Item::Text(text) if &*text == "none"));
        for operation in index().values() {
            for (_, default) in &operation.parameters {
                assert!(
                    default.is_none_or(|text| text == "None" || !matches!(literal(text), Item::None)),
                    "{default:?}"
                );
            }
        }
    }

    #[test]
    fn load_finds_operations_in_place_by_their_other_name() {
        let found = |target: &str| find(target).map(|found| (found.operation.name, found.in_place));
        assert_eq!(found("torch.ops.aten.relu_.default"), Some(("relu", true)));
        assert_eq!(found("torch.ops.aten.add.Tensor"), Some(("add", false)));
        assert_eq!(found("_operator.mul"), Some(("mul", false)));
        assert_eq!(found("torch.ops.aten.add.Scalar2"), None);
        assert_eq!(found("torch.ops.torchvision.nms.default"), None);
    }
}
