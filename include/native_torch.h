/* NativeTorch: trained PyTorch models in C, C++ and whatever can call C, without Python.
 *
 * Written by cbindgen from rust/capi; do not edit. To renew it:
 *     NATIVE_TORCH_BLESS=1 cargo test -p native-torch-capi --test header
 *
 * Every function but `nt_abi_version`, `nt_version` and `nt_last_error` returns a status, and results come through
 * pointers that stand last. Where the status is not `NT_OK`, `nt_last_error` says what is wrong, where, and what to do.
 *
 * Arrays are flat, in torch's row-major order, and double. The caller owns what it passes; nothing of it is kept after
 * the call, but for the bytes and the readers of files. Positions count from 0.
 *
 * A handle is freed by the destroyer of its kind, once, when no call is using it; destroyers take NULL. Any function may
 * be called from any thread. One model, function or formulation may be used by several threads at once; a workspace is
 * for one call at a time.
 *
 * NULL where something is needed, wrong lengths and unknown constants are errors. An array that needs to hold nothing
 * may be NULL. A defect of the library (a Rust panic) is caught, prints nothing, and becomes `NT_ERROR_INTERNAL`.
 */

#ifndef NATIVE_TORCH_H
#define NATIVE_TORCH_H

#include <stddef.h>
#include <stdint.h>

#if defined(__cplusplus) && __cplusplus >= 201703L
#define NT_MUST_USE [[nodiscard]]
#elif defined(__GNUC__)
#define NT_MUST_USE __attribute__((warn_unused_result))
#else
#define NT_MUST_USE
#endif

/**
 * Numbers that the callee reads: `len` of them from `data`.
 */
typedef struct NtSlice {
  const double *data;
  size_t len;
} NtSlice;

/**
 * Numbers that the callee writes: `len` of them from `data`. They must not overlap any that it reads.
 */
typedef struct NtSliceMut {
  double *data;
  size_t len;
} NtSliceMut;

/**
 * Sizes of dimensions, the first first: `len` of them from `data`.
 */
typedef struct NtShape {
  const size_t *data;
  size_t len;
} NtShape;

/**
 * Integers that the callee writes: `len` of them from `data`.
 */
typedef struct NtIntegersMut {
  int64_t *data;
  size_t len;
} NtIntegersMut;

/**
 * Bytes that the callee reads: `len` of them from `data`.
 */
typedef struct NtBytes {
  const uint8_t *data;
  size_t len;
} NtBytes;

/**
 * Integers that the callee reads: `len` of them from `data`.
 */
typedef struct NtIntegers {
  const int64_t *data;
  size_t len;
} NtIntegers;

/**
 * Models that the callee reads: `len` of them from `data`.
 */
typedef struct NtModels {
  const struct NtModel *const *data;
  size_t len;
} NtModels;

/**
 * Text that ends with NUL.
 */
typedef const char *NtStr;

/**
 * Stands for a size that is not fixed.
 */
#define NT_ANY_SIZE SIZE_MAX


/**
 * The version of this interface: of the functions, structs and constants in this header. It changes whenever code that
 * was compiled against an older header, or that declares the functions itself, would no longer work.
 */
#define NT_ABI_VERSION 4



/**
 * Stands for the layer of what comes from no layer: the inputs.
 */
#define NT_NO_LAYER 4294967295

/**
 * Any value within the bounds.
 */
#define NT_CONTINUOUS 0

/**
 * 0 or 1.
 */
#define NT_BINARY 1

/**
 * Whole numbers within the bounds.
 */
#define NT_INTEGER 2

/**
 * Numbers `(x, y, z)` with `y exp(x / y) <= z` and `y > 0`.
 */
#define NT_EXPONENTIAL_CONE 0

/**
 * Numbers `(t, x..)` with `t >= |x|` (Euclidean).
 */
#define NT_SECOND_ORDER_CONE 1

/**
 * Pushes a constant; the argument is its position in the constants.
 */
#define NT_OP_CONSTANT 0

/**
 * Pushes the value of a variable; the argument is the variable.
 */
#define NT_OP_VARIABLE 1

/**
 * `a + b + ..`. The argument of this and all that follow is the number of operands, which are popped.
 */
#define NT_OP_ADD 2

/**
 * `a - b`.
 */
#define NT_OP_SUB 3

/**
 * `a b ..`.
 */
#define NT_OP_MUL 4

/**
 * `a / b`.
 */
#define NT_OP_DIV 5

/**
 * `a` to the power of `b`.
 */
#define NT_OP_POW 6

/**
 * `-a`.
 */
#define NT_OP_NEG 7

/**
 * The exponential.
 */
#define NT_OP_EXP 8

/**
 * The natural logarithm.
 */
#define NT_OP_LOG 9

/**
 * `log(1 + a)`.
 */
#define NT_OP_LOG1P 10

/**
 * The square root.
 */
#define NT_OP_SQRT 11

/**
 * The hyperbolic tangent.
 */
#define NT_OP_TANH 12

/**
 * The error function.
 */
#define NT_OP_ERF 13

/**
 * The magnitude.
 */
#define NT_OP_ABS 14

/**
 * The largest operand.
 */
#define NT_OP_MAX 15

/**
 * The smallest operand.
 */
#define NT_OP_MIN 16

/**
 * `b` where `a` is not 0, else `c`.
 */
#define NT_OP_IFELSE 17

/**
 * 1 where `a > b`, else 0.
 */
#define NT_OP_GREATER 18

/**
 * Pushes the value of an expression; the argument is its position in `NtTables.expressions`.
 */
#define NT_OP_EXPRESSION 19

/**
 * The sine.
 */
#define NT_OP_SIN 20

/**
 * The inverse tangent.
 */
#define NT_OP_ATAN 21

/**
 * `variable == expression`.
 */
#define NT_EQUAL 0

/**
 * `variable >= expression`.
 */
#define NT_AT_LEAST 1

/**
 * `variable <= expression`.
 */
#define NT_AT_MOST 2

/**
 * What became of a call. Codes may be added: treat one that you do not know as an error.
 */
enum NtStatus
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * All went well.
   */
  NT_OK = 0,
  /**
   * An argument is wrong: NULL, a length, a shape, a constant.
   */
  NT_ERROR_ARGUMENT = 1,
  /**
   * The operating system refused to read or write.
   */
  NT_ERROR_IO = 2,
  /**
   * A file is malformed: truncated, contradicts itself, or claims more than it holds.
   */
  NT_ERROR_FORMAT = 3,
  /**
   * A file or model is well formed, but asks for something that is not there.
   */
  NT_ERROR_UNSUPPORTED = 4,
  /**
   * A solver failed for a reason of its own.
   */
  NT_ERROR_SOLVER = 5,
  /**
   * A defect of this library. Workspaces that took part must not be used again; nothing else is affected.
   */
  NT_ERROR_INTERNAL = 6,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum NtStatus NtStatus;
#else
typedef int32_t NtStatus;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Intervals of all values of a model over a box of its inputs. It never changes; any number of threads may use it at
 * once.
 */
typedef struct NtBounds NtBounds;

/**
 * A model as an optimisation model: variables, and rows that hold exactly where the outputs are the model's values at
 * the inputs. It never changes; any number of threads may use it at once.
 */
typedef struct NtFormulation NtFormulation;

/**
 * A model compiled for one shape of input: f from n inputs to m outputs, and its derivatives. It never changes; any
 * number of threads may use it at once, each with a workspace of its own.
 */
typedef struct NtFunction NtFunction;

/**
 * A model read from a file, or a part of one. It never changes; any number of threads may use it at once. Functions
 * and formulations made from it do not need it any more.
 */
typedef struct NtModel NtModel;

/**
 * A value that a file holds: a dict, a list, a tensor, a number. It never changes; any number of threads may use it at
 * once. It shares the file with the values and models made from it, and may be freed before them.
 */
typedef struct NtValue NtValue;

/**
 * The memory of one thread for the calls of one function. Used by two calls at once, it is an error for the later one.
 */
typedef struct NtWorkspace NtWorkspace;

/**
 * Called once when the library needs bytes or a reader no more, with the context that came with them.
 */
typedef void (*NtRelease)(void *context);

/**
 * Reads `length` bytes, or fewer, into `buffer` from `position` on, counted from the beginning: a seek and a read. Gives
 * how many it read; 0 at the end, a negative number where it fails.
 */
typedef int64_t (*NtRead)(void *context, uint64_t position, uint8_t *buffer, size_t length);

/**
 * A file that the caller reads. The library calls `read` when it opens the file, and when the numbers of a tensor are
 * first used: from any thread that it is called on, but one call at a time.
 */
typedef struct NtReader {
  /**
   * Passed to each call; may be NULL.
   */
  void *context;
  /**
   * The length of the file in bytes.
   */
  uint64_t length;
  /**
   * Reads at a position.
   */
  NtRead read;
  /**
   * Called once when the file is not needed any more, also where opening it failed; may be NULL.
   */
  NtRelease release;
} NtReader;

/**
 * What a module computes: `NT_MODULE_SEQUENTIAL`, `NT_MODULE_STANDARD`, `NT_MODULE_CUSTOM`, `NT_MODULE_UNSUPPORTED` or
 * `NT_MODULE_PROGRAM`.
 */
typedef uint32_t NtModuleKind;

/**
 * A list of strings: the `i`-th begins at `text + offsets[i]` and ends with NUL, UTF-8. A NUL in a name that a file
 * holds reads as `\0`.
 */
typedef struct NtStrings {
  /**
   * All strings, one after another.
   */
  const char *text;
  /**
   * Where each begins, in bytes, and the end of the last: one entry more than there are strings.
   */
  const size_t *offsets;
} NtStrings;

/**
 * The modules of a model, each in front of those in it; the first is the model itself. All arrays have `count`
 * entries.
 */
typedef struct NtModules {
  /**
   * How many modules there are.
   */
  size_t count;
  /**
   * What each computes.
   */
  const NtModuleKind *kinds;
  /**
   * The names that lead to each from the root of the file, joined by dots: `2.0`. The root's is empty.
   */
  struct NtStrings paths;
  /**
   * The class of each: `torch.nn.modules.linear.Linear`.
   */
  struct NtStrings classes;
  /**
   * The class's short name with its attributes: `Linear(in_features=64, out_features=32, bias=True)`.
   */
  struct NtStrings descriptions;
  /**
   * Why the module keeps the model from being evaluated, and what to do; empty where it does not.
   */
  struct NtStrings reasons;
  /**
   * The number of elements of the parameters of each, without those of the modules in it.
   */
  const size_t *parameters;
} NtModules;

/**
 * The tensors of a file or a model, also those that cannot be used. All arrays but the last two have `count` entries.
 */
typedef struct NtTensors {
  /**
   * How many tensors there are.
   */
  size_t count;
  /**
   * The keys that lead to each, joined by dots: `2.0.weight`, counted from the model, part or value.
   */
  struct NtStrings names;
  /**
   * How each is stored: `strided` for a plain dense tensor, else `sparse_coo`, `sparse_csr`, `sparse_csc`, `sparse_bsr`,
   * `sparse_bsc`, `quantized`, `nested`, `meta`, `uninitialized`, `subclass` or `unknown`.
   */
  struct NtStrings kinds;
  /**
   * Their element types in the file, by torch's names: `float32`. Empty where the file does not say.
   */
  struct NtStrings dtypes;
  /**
   * Why a tensor cannot be used; empty where it can.
   */
  struct NtStrings reasons;
  /**
   * 1 for a parameter, 0 for a buffer or another tensor.
   */
  const uint8_t *is_parameter;
  /**
   * The storage that each lies in: a number that is the same for tensors that share one, and `SIZE_MAX` for those that
   * cannot be used.
   */
  const size_t *storages;
  /**
   * Where the sizes of each begin in `sizes`, and the end of the last: `count + 1` entries. A tensor that cannot be used
   * may have none.
   */
  const size_t *shape_starts;
  /**
   * The sizes of all.
   */
  const size_t *sizes;
} NtTensors;

/**
 * The attributes of a module, in the file's order, without those that every `nn.Module` has. All arrays have `count`
 * entries.
 */
typedef struct NtAttributes {
  /**
   * How many attributes there are.
   */
  size_t count;
  /**
   * Their names.
   */
  struct NtStrings names;
  /**
   * What each is, in Python's words: `None`, `bool`, `int`, `float`, `str`, `list`, `tensor`, or a quoted class.
   */
  struct NtStrings kinds;
  /**
   * Their values: the text itself where the kind is `str`, else as Python prints them, shortened where that is long.
   */
  struct NtStrings values;
  /**
   * The values of numbers and bools; NaN for others.
   */
  const double *numbers;
} NtAttributes;

/**
 * Sizes of dimensions, the first first.
 */
typedef struct NtSizes {
  /**
   * How many dimensions there are.
   */
  size_t rank;
  /**
   * Their sizes; `NT_ANY_SIZE` for one that the caller chooses.
   */
  const size_t *sizes;
} NtSizes;

/**
 * What a model takes, in the order of torch's forward. All arrays but the last two have `count` entries.
 */
typedef struct NtInputs {
  /**
   * How many inputs there are.
   */
  size_t count;
  /**
   * Their names in torch's forward: `input`; `input1` and `input2`.
   */
  struct NtStrings names;
  /**
   * 1 for an input of integers, which are given to `nt_model_with_inputs`; 0 for one whose numbers are part of `x`.
   */
  const uint8_t *is_integer;
  /**
   * 1 where the model's first layers fix the shape; where they do not, `sizes` has none of it.
   */
  const uint8_t *has_shape;
  /**
   * Where the sizes of each begin in `sizes`, and the end of the last: `count + 1` entries.
   */
  const size_t *shape_starts;
  /**
   * The sizes of all; `NT_ANY_SIZE` for one that the caller chooses.
   */
  const size_t *sizes;
} NtInputs;

/**
 * What a value is, in Python's words: one of the constants `NT_VALUE_NONE` and so on.
 */
typedef uint32_t NtValueKind;

/**
 * What a value is, and what is in it.
 */
typedef struct NtDescription {
  /**
   * What it is.
   */
  NtValueKind kind;
  /**
   * The value of a bool, an int or a float, an int rounded to the nearest double; NaN for others.
   */
  double number;
  /**
   * Of a text its UTF-8, of bytes the bytes, of an int its two's complement, least significant byte first and as long
   * as it needs, of a module, an object or a class the name of the class. A NUL that does not count ends it.
   */
  const uint8_t *data;
  /**
   * How many bytes of `data` count.
   */
  size_t length;
  /**
   * How many values are in it.
   */
  size_t count;
} NtDescription;

/**
 * The values in a value, in the file's order: elements, the entries of a dict, the attributes of an object. All arrays
 * have `count` entries.
 */
typedef struct NtChildren {
  /**
   * How many there are.
   */
  size_t count;
  /**
   * What each is.
   */
  const NtValueKind *kinds;
  /**
   * What the key of each is; `NT_VALUE_NONE` in lists, tuples and sets.
   */
  const NtValueKind *key_kinds;
  /**
   * The keys: texts as they are, others as Python prints them, shortened where that is long. Empty in lists, tuples and
   * sets. `nt_value_key` gives a key as a value.
   */
  struct NtStrings keys;
} NtChildren;

/**
 * The precision of a computation: `NT_FLOAT64` or `NT_FLOAT32`. Arrays are double either way.
 */
typedef uint32_t NtDType;

/**
 * Inputs or outputs in the order of the signature.
 */
typedef struct NtValues {
  /**
   * How many there are.
   */
  size_t count;
  /**
   * Their names.
   */
  struct NtStrings names;
  /**
   * Where the sizes of each begin in `sizes`, and the end of the last: `count + 1` entries.
   */
  const size_t *shape_starts;
  /**
   * The sizes of all.
   */
  const size_t *sizes;
} NtValues;

/**
 * What a function takes and gives.
 */
typedef struct NtSignature {
  /**
   * The number of input elements: of all inputs together, the batch dimension included.
   */
  size_t n;
  /**
   * The number of output elements.
   */
  size_t m;
  /**
   * The precision of the computation.
   */
  NtDType dtype;
  /**
   * The inputs; `x` is each of them flat and row-major, one after another.
   */
  struct NtValues inputs;
  /**
   * The outputs; `y` is each of them flat and row-major, one after another.
   */
  struct NtValues outputs;
} NtSignature;

/**
 * The places of the entries of a sparse matrix, sorted by row, then column; none twice. Rows and columns count from 0.
 */
typedef struct NtPattern {
  /**
   * The number of entries.
   */
  size_t count;
  /**
   * The row of each.
   */
  const size_t *rows;
  /**
   * The column of each.
   */
  const size_t *columns;
} NtPattern;

/**
 * In which order the entries of a matrix are written: `NT_ROW_MAJOR`, `NT_COLUMN_MAJOR` or `NT_PATTERN`.
 */
typedef uint32_t NtOrder;

/**
 * The libtorch backend that is open.
 */
typedef struct NtLibtorch {
  /**
   * The version of libtorch, such as `2.13.0`; valid for ever.
   */
  const char *version;
  /**
   * The path of the backend's library; valid for ever.
   */
  const char *path;
  /**
   * How many CUDA devices it can use.
   */
  size_t cuda_devices;
} NtLibtorch;

/**
 * How bounds are found: `NT_BOUNDS_INTERVAL`, `NT_BOUNDS_LINEAR`, `NT_BOUNDS_LP` or `NT_BOUNDS_MIP`, each at least as
 * tight as the one before it, and slower.
 */
typedef uint32_t NtBoundsMethod;

/**
 * Called after each element that `nt_bounds_create` has worked on, on the thread that called it: with `data` of the
 * options, where the layer stands in the model, how many of its elements are done, how many are worked on, and 1 where
 * mixed-integer programs are solved, else 0. Returns 0 to end the work: what is known so far is then the result. It
 * must return; exceptions and jumps must not leave it.
 */
typedef uint8_t (*NtBoundsProgress)(void *data, const char *layer, size_t done, size_t total, uint8_t integer);

/**
 * Solves programs for `nt_bounds_create`, on the thread that called it: with `data` of the options, the part of the
 * network before a layer as a formulation, `count` of its variables, and 1 where its binaries are meant as such; else
 * they may have any value from 0 to 1. Writes for each variable a range that it is certain not to leave but for the
 * solver's tolerances, infinite where that is not known, to `lower` and `upper`, each of length `count`. Where `points`
 * is not NULL it has room for two solutions of each variable, one after another, where it is smallest and where it is
 * largest: the values of all variables of the formulation; what is not written there is not used. The same elements are
 * asked for up to `rounds` times, with more rows each time; a time limit of theirs is meant for all of them. Returns 0
 * to end the work: what is known so far is then the result. The formulation and the arrays live until it returns. It
 * must return; exceptions and jumps must not leave it.
 */
typedef uint8_t (*NtBoundsSolve)(void *data,
                                 const struct NtFormulation *formulation,
                                 const uint32_t *elements,
                                 size_t count,
                                 uint8_t integer,
                                 uint32_t rounds,
                                 double *lower,
                                 double *upper,
                                 double *points);

/**
 * What bounds are found with. All zero is the default.
 */
typedef struct NtBoundsOptions {
  /**
   * How many threads work; 0 for as many as the machine has.
   */
  size_t threads;
  /**
   * Seconds that the programs of one element may take, linear and mixed-integer ones each; 0 or infinity for no
   * limit.
   */
  double time_limit;
  /**
   * `microlp` or `highs`; NULL for the default of this build.
   */
  NtStr solver;
  /**
   * Affine rows of the inputs, which hold beside their bounds: where the entries of each begin, and the end of the
   * last. NULL for none.
   */
  NtShape row_starts;
  /**
   * The input elements of the entries, counted over all inputs, one after another.
   */
  NtShape row_elements;
  /**
   * The coefficients of the entries.
   */
  NtSlice row_coefficients;
  /**
   * The smallest value of each row, or -inf.
   */
  NtSlice row_lower;
  /**
   * The largest value of each row, or inf.
   */
  NtSlice row_upper;
  /**
   * Called now and then; NULL for nothing.
   */
  NtBoundsProgress progress;
  /**
   * Solves the programs in place of the solver, the threads and the time limit above; NULL for those. Its ranges are
   * moved outward by 1e-6, relative to the value's size.
   */
  NtBoundsSolve solve;
  /**
   * Handed to `progress` and `solve`.
   */
  void *data;
} NtBoundsOptions;

/**
 * Bounds as arrays. The first values are the model's inputs, in order; the others are the results of its operations
 * that outputs depend on, in the order in which they are computed.
 */
typedef struct NtBoundsTables {
  /**
   * How many values there are.
   */
  size_t count;
  /**
   * The name of each input, and where each operation stands in the model: ``layer `0` (torch.nn.modules.linear.Linear)``.
   */
  struct NtStrings names;
  /**
   * The operations by their names in ATen; empty for inputs.
   */
  struct NtStrings operations;
  /**
   * Where the sizes of each value begin in `sizes`, and the end of the last: `count + 1` entries.
   */
  const size_t *shape_starts;
  /**
   * The sizes of all values.
   */
  const size_t *sizes;
  /**
   * Where the elements of each value begin in `lower` and `upper`, and the end of the last: `count + 1` entries.
   */
  const size_t *starts;
  /**
   * The smallest values, flat and row-major, or -inf.
   */
  const double *lower;
  /**
   * The largest values, flat and row-major, or inf.
   */
  const double *upper;
  /**
   * The number of outputs.
   */
  size_t output_count;
  /**
   * The values that are the outputs; `count` for one that is a parameter of the model.
   */
  const size_t *outputs;
  /**
   * How many programs were solved.
   */
  size_t solved;
  /**
   * How many ran out of time.
   */
  size_t timed_out;
  /**
   * How many the solver failed at; their elements keep the bounds they had.
   */
  size_t failed;
  /**
   * 1 where `progress` ended the work, else 0.
   */
  uint8_t cancelled;
  /**
   * The first failure in words; empty if there was none.
   */
  const char *failure;
} NtBoundsTables;

/**
 * Variables. All arrays have `count` entries.
 */
typedef struct NtVariables {
  /**
   * How many there are.
   */
  size_t count;
  /**
   * Their smallest values, or -inf.
   */
  const double *lower;
  /**
   * Their largest values, or inf.
   */
  const double *upper;
  /**
   * What they may be: `NT_CONTINUOUS`, `NT_BINARY` or `NT_INTEGER`.
   */
  const uint8_t *domains;
  /**
   * Initial values; NaN where there is none.
   */
  const double *start;
  /**
   * The block that each belongs to.
   */
  const uint32_t *blocks;
  /**
   * The place of each in its block. A variable's name is its block's with this in brackets: `layer 0.z[5]`.
   */
  const uint32_t *indices;
} NtVariables;

/**
 * Variables that were made together and share a name. All arrays have `count` entries.
 */
typedef struct NtBlocks {
  /**
   * How many there are.
   */
  size_t count;
  /**
   * Their names: `input`, `layer 0.z`.
   */
  struct NtStrings names;
  /**
   * The layer of each, or `NT_NO_LAYER`.
   */
  const uint32_t *layers;
} NtBlocks;

/**
 * Linear rows `lower <= a'x <= upper`, compressed: row `i` has the entries `starts[i]` to `starts[i + 1] - 1`, in
 * ascending order of variables, none twice and none zero.
 */
typedef struct NtRows {
  /**
   * How many rows there are.
   */
  size_t count;
  /**
   * Where the entries of each begin, and the end of the last: `count + 1` entries.
   */
  const size_t *starts;
  /**
   * The variables of the entries.
   */
  const uint32_t *variables;
  /**
   * The coefficients of the entries.
   */
  const double *coefficients;
  /**
   * The smallest value of each row, or -inf.
   */
  const double *lower;
  /**
   * The largest value of each row, or inf.
   */
  const double *upper;
  /**
   * The layer of each row, or `NT_NO_LAYER`.
   */
  const uint32_t *layers;
} NtRows;

/**
 * Ordered lists of variables: list `i` has the entries `starts[i]` to `starts[i + 1] - 1`.
 */
typedef struct NtLists {
  /**
   * How many lists there are.
   */
  size_t count;
  /**
   * Where the entries of each begin, and the end of the last: `count + 1` entries.
   */
  const size_t *starts;
  /**
   * The variables of the entries.
   */
  const uint32_t *variables;
  /**
   * A number with each entry: the weight in an SOS1 set.
   */
  const double *weights;
  /**
   * The layer of each list, or `NT_NO_LAYER`.
   */
  const uint32_t *layers;
} NtLists;

/**
 * Rows that hold where a binary has a value: `binaries[i] == active[i]` implies row `i`.
 */
typedef struct NtIndicators {
  /**
   * The binary of each row.
   */
  const uint32_t *binaries;
  /**
   * The value, 0 or 1, at which the row holds.
   */
  const uint8_t *active;
  /**
   * The rows.
   */
  struct NtRows rows;
} NtIndicators;

/**
 * Quadratic rows `lower <= a'x + sum of q x_j x_k <= upper`: row `i` has the products `starts[i]` to
 * `starts[i + 1] - 1`, each product of two variables listed once.
 */
typedef struct NtQuadraticRows {
  /**
   * The linear parts and the limits.
   */
  struct NtRows rows;
  /**
   * Where the products of each row begin, and the end of the last: `rows.count + 1` entries.
   */
  const size_t *starts;
  /**
   * The first factor of each product.
   */
  const uint32_t *first;
  /**
   * The second factor of each product.
   */
  const uint32_t *second;
  /**
   * The coefficient of each product.
   */
  const double *coefficients;
} NtQuadraticRows;

/**
 * Affine functions `a'x + c`, compressed: function `i` has the entries `starts[i]` to `starts[i + 1] - 1`.
 */
typedef struct NtAffineFunctions {
  /**
   * How many there are.
   */
  size_t count;
  /**
   * Where the entries of each begin, and the end of the last: `count + 1` entries.
   */
  const size_t *starts;
  /**
   * The variables of the entries.
   */
  const uint32_t *variables;
  /**
   * The coefficients of the entries.
   */
  const double *coefficients;
  /**
   * The constant of each.
   */
  const double *constants;
} NtAffineFunctions;

/**
 * Lists of affine functions that lie in cones: cone `i` has the members `starts[i]` to `starts[i + 1] - 1`.
 */
typedef struct NtCones {
  /**
   * How many there are.
   */
  size_t count;
  /**
   * The kind of each: `NT_EXPONENTIAL_CONE` or `NT_SECOND_ORDER_CONE`.
   */
  const uint8_t *kinds;
  /**
   * Where the members of each begin, and the end of the last: `count + 1` entries.
   */
  const size_t *starts;
  /**
   * The members of all, in the order that the kind says.
   */
  struct NtAffineFunctions members;
  /**
   * The layer of each, or `NT_NO_LAYER`.
   */
  const uint32_t *layers;
} NtCones;

/**
 * Pairs of variables, neither negative, of which one is zero. All arrays have `count` entries.
 */
typedef struct NtComplementarities {
  /**
   * How many there are.
   */
  size_t count;
  /**
   * One of each pair.
   */
  const uint32_t *first;
  /**
   * The other.
   */
  const uint32_t *second;
  /**
   * The layer of each pair, or `NT_NO_LAYER`.
   */
  const uint32_t *layers;
} NtComplementarities;

/**
 * Expressions. Expression `i` is a tape, the places `starts[i]` to `starts[i + 1] - 1`, in postfix order: each code takes
 * its operands from a stack, the last one topmost, and puts its value there; one value is left.
 */
typedef struct NtTapes {
  /**
   * How many expressions there are.
   */
  size_t count;
  /**
   * Where the tape of each begins, and the end of the last: `count + 1` entries.
   */
  const size_t *starts;
  /**
   * The codes of all tapes: `NT_OP_CONSTANT` and so on.
   */
  const uint8_t *codes;
  /**
   * The argument of each code.
   */
  const uint32_t *arguments;
  /**
   * How many constants there are.
   */
  size_t constant_count;
  /**
   * The constants of all tapes.
   */
  const double *constants;
  /**
   * The layer of each expression, or `NT_NO_LAYER`.
   */
  const uint32_t *layers;
} NtTapes;

/**
 * Nonlinear equations `variable == expression`, and inequalities. Both arrays have `tapes.count` entries.
 */
typedef struct NtDefinitions {
  /**
   * The variable on the left of each.
   */
  const uint32_t *variables;
  /**
   * What stands between: `NT_EQUAL`, `NT_AT_LEAST` or `NT_AT_MOST`.
   */
  const uint8_t *relations;
  /**
   * The expression on the right of each.
   */
  struct NtTapes tapes;
} NtDefinitions;

/**
 * All of a formulation. Variables are given by their positions in `variables`.
 */
typedef struct NtTables {
  /**
   * The variables.
   */
  struct NtVariables variables;
  /**
   * What they belong to.
   */
  struct NtBlocks blocks;
  /**
   * Linear rows.
   */
  struct NtRows rows;
  /**
   * Sets of variables of which at most one is not zero, ordered by their weights.
   */
  struct NtLists sos1;
  /**
   * Linear rows that a binary switches on.
   */
  struct NtIndicators indicators;
  /**
   * Quadratic rows.
   */
  struct NtQuadraticRows quadratic;
  /**
   * Cones.
   */
  struct NtCones cones;
  /**
   * Complementary pairs.
   */
  struct NtComplementarities complementarities;
  /**
   * Nonlinear equations and inequalities.
   */
  struct NtDefinitions definitions;
  /**
   * Expressions that others and the outputs refer to, each after those that it refers to. Empty in full space.
   */
  struct NtTapes expressions;
  /**
   * The number of input elements.
   */
  size_t input_count;
  /**
   * The variables of the inputs, each flat and row-major, one after another.
   */
  const uint32_t *inputs;
  /**
   * The number of output elements.
   */
  size_t output_count;
  /**
   * In full space, the variables of the outputs, each flat and row-major, one after another. One variable may stand
   * for several outputs, and an input may be an output. NULL in reduced space.
   */
  const uint32_t *outputs;
  /**
   * In reduced space, the expressions of the outputs: positions in `expressions`. NULL in full space.
   */
  const uint32_t *output_expressions;
  /**
   * The smallest values of the outputs, or -inf.
   */
  const double *output_lower;
  /**
   * The largest values of the outputs, or inf.
   */
  const double *output_upper;
  /**
   * The number of layers.
   */
  size_t layer_count;
  /**
   * What the layers are, as errors name them: ``layer `0` (torch.nn.modules.linear.Linear)``. A layer that takes
   * several operations is named as often.
   */
  struct NtStrings layers;
} NtTables;

/**
 * The modules in it, one after another.
 */
#define NT_MODULE_SEQUENTIAL 0

/**
 * One of torch's own layers.
 */
#define NT_MODULE_STANDARD 1

/**
 * A class that torch does not define: the file has its attributes, tensors and children, but not its forward.
 */
#define NT_MODULE_CUSTOM 2

/**
 * Something that cannot be used; the reason says why.
 */
#define NT_MODULE_UNSUPPORTED 3

/**
 * A program that torch.export.save or torch.jit.save wrote: operations instead of layers. It is the only module of its model.
 */
#define NT_MODULE_PROGRAM 4

/**
 * `None`.
 */
#define NT_VALUE_NONE 0

/**
 * A bool.
 */
#define NT_VALUE_BOOL 1

/**
 * An int of any size.
 */
#define NT_VALUE_INT 2

/**
 * A float.
 */
#define NT_VALUE_FLOAT 3

/**
 * A text.
 */
#define NT_VALUE_STR 4

/**
 * Bytes.
 */
#define NT_VALUE_BYTES 5

/**
 * A list.
 */
#define NT_VALUE_LIST 6

/**
 * A tuple.
 */
#define NT_VALUE_TUPLE 7

/**
 * A set.
 */
#define NT_VALUE_SET 8

/**
 * A dict, whose keys may be anything.
 */
#define NT_VALUE_DICT 9

/**
 * A tensor.
 */
#define NT_VALUE_TENSOR 10

/**
 * A module; `nt_value_model` makes a model of it.
 */
#define NT_VALUE_MODULE 11

/**
 * An object of another class.
 */
#define NT_VALUE_OBJECT 12

/**
 * A class or a function by its name, or a dtype.
 */
#define NT_VALUE_CLASS 13

/**
 * Bytes that tensors share, by themselves.
 */
#define NT_VALUE_STORAGE 14

/**
 * Double precision.
 */
#define NT_FLOAT64 0

/**
 * Single precision.
 */
#define NT_FLOAT32 1

/**
 * One row after another, dense.
 */
#define NT_ROW_MAJOR 0

/**
 * One column after another, dense.
 */
#define NT_COLUMN_MAJOR 1

/**
 * The entries of the sparsity pattern alone, in its order.
 */
#define NT_PATTERN 2

/**
 * Interval propagation.
 */
#define NT_BOUNDS_INTERVAL 0

/**
 * Linear relaxation through the whole network (CROWN), intersected with intervals.
 */
#define NT_BOUNDS_LINEAR 1

/**
 * Two linear programs for each element that a layer which is not affine reads, layer after layer.
 */
#define NT_BOUNDS_LP 2

/**
 * Two mixed-integer programs for each such element that linear ones leave open.
 */
#define NT_BOUNDS_MIP 3

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * `NT_ABI_VERSION` of the library that is loaded. Compare it with the header's before any other call.
 */
uint32_t nt_abi_version(void);

/**
 * The version of the library that is loaded, such as `0.1.0`: a string that is valid for ever.
 */
const char *nt_version(void);

/**
 * The message of the last call on this thread that did not return `NT_OK`; an empty string if there was none.
 *
 * UTF-8, ends with NUL, belongs to the library, and is valid until the next call on this thread that fails.
 */
const char *nt_last_error(void);

/**
 * Panics on purpose and returns `NT_ERROR_INTERNAL`: for hosts and language bindings that want to see that a defect of
 * this library does not end their process.
 */
NT_MUST_USE NtStatus nt_check_panic(void);

/**
 * Opens a file that `torch.save(model, path)`, with any version of torch, or `torch.export.save(program, path)` wrote,
 * without Python and whatever the file is called.
 *
 * What the file claims is checked before memory is taken; nothing that it names is called. The numbers of its tensors are
 * read when they are first used, so the file must not be changed in place while the model lives. Layers that are not
 * supported do not fail here: see `nt_model_modules`.
 *
 * `NT_ERROR_IO`: the file cannot be read. `NT_ERROR_FORMAT`: it is damaged. `NT_ERROR_UNSUPPORTED`: it is of another
 * kind, or holds no module; what it holds then, `nt_value_open` gives.
 *
 * `out` receives the model, to be freed with `nt_model_destroy`; NULL on failure.
 */
NT_MUST_USE
NtStatus nt_model_open(NtStr path,
                       struct NtModel **out);

/**
 * The same for a file in memory: `bytes`, which are not copied and must stay as they are until `release` is called with
 * `context`. That happens once, when the last value or model of the file is freed, or before this returns where it fails.
 * Where `release` is NULL, they must stay for as long as a value or model of the file lives.
 */
NT_MUST_USE
NtStatus nt_model_open_bytes(NtBytes bytes,
                             NtRelease release,
                             void *context,
                             struct NtModel **out);

/**
 * The same for a file behind a reader, which is called whenever a part of the file is needed, and is released when the
 * last value or model of the file is freed, or before this returns where it fails.
 */
NT_MUST_USE NtStatus nt_model_open_reader(const struct NtReader *reader, struct NtModel **out);

/**
 * Frees a model; NULL is allowed. Pointers that the model gave out are then invalid.
 */
NtStatus nt_model_destroy(struct NtModel *model);

/**
 * The part of a model at a path of `nt_model_modules`, as a model of its own that shares the file: a layer, or the
 * children of a custom layer, to be evaluated or formulated alone.
 *
 * `NT_ERROR_ARGUMENT`: there is no module of this path.
 *
 * `out` receives the part, to be freed with `nt_model_destroy`; NULL on failure. It may outlive the model.
 */
NT_MUST_USE NtStatus nt_model_submodule(const struct NtModel *model, NtStr path, struct NtModel **out);

/**
 * One of torch's own layers, made from its attributes instead of read from a file.
 *
 * `kind` is its short name, `Conv2d`; `attributes` are those that torch stores of it, as Python writes arguments:
 * `kernel_size=(2, 2), stride=1`. `weight` and `bias` are its parameters, flat and row-major, with their sizes; where
 * the sizes are NULL there is none.
 *
 * `NT_ERROR_ARGUMENT`: there is no such layer, the attributes cannot be read, a length is not the product of the sizes.
 * `NT_ERROR_FORMAT`: an attribute is missing or wrong. `NT_ERROR_UNSUPPORTED`: the layer is not supported in this form.
 *
 * `out` receives the layer, to be freed with `nt_model_destroy`; NULL on failure.
 */
NT_MUST_USE
NtStatus nt_model_layer(NtStr kind,
                        NtStr attributes,
                        NtShape weight_shape,
                        NtSlice weight,
                        NtShape bias_shape,
                        NtSlice bias,
                        struct NtModel **out);

/**
 * Models one after another as one model, which shares what they hold.
 *
 * `paths` names each for error messages and for the layers of formulations: one line for each, none empty, none twice.
 *
 * `NT_ERROR_ARGUMENT`: there are more or fewer paths than models, or a path is empty or there twice.
 *
 * `out` receives the chain, to be freed with `nt_model_destroy`; NULL on failure. It may outlive the models.
 */
NT_MUST_USE NtStatus nt_model_chain(NtModels models, NtStr paths, struct NtModel **out);

/**
 * The modules of a model as one table, for printing and for finding what is not supported. `out` receives pointers
 * that are valid as long as the model.
 */
NT_MUST_USE NtStatus nt_model_modules(const struct NtModel *model, struct NtModules *out);

/**
 * The parameters and buffers of a model as one table. `out` receives pointers that are valid as long as the model.
 */
NT_MUST_USE NtStatus nt_model_tensors(const struct NtModel *model, struct NtTensors *out);

/**
 * The numbers of tensor `index` of `nt_model_tensors`, flat and row-major, converted to double; the first use checks the
 * CRC of the record in the file. `values` has as many elements as the tensor, or twice as many where it is complex: the
 * real and the imaginary part in turn.
 *
 * `NT_ERROR_FORMAT`: the record is damaged. `NT_ERROR_UNSUPPORTED`: the tensor cannot be used; see `reasons`.
 */
NT_MUST_USE
NtStatus nt_model_tensor_values(const struct NtModel *model,
                                size_t index,
                                NtSliceMut values);

/**
 * The attributes of the model's own module, not of those in it: of a custom layer, what its forward may need. Empty
 * for layers of torch's own, whose attributes stand in the description. `out` receives pointers that are valid as long
 * as the model.
 */
NT_MUST_USE NtStatus nt_model_attributes(const struct NtModel *model, struct NtAttributes *out);

/**
 * The shape of input that the model asks for by itself: `[NT_ANY_SIZE, 64]` where it begins with a Linear layer of 64
 * features. `out` receives pointers that are valid as long as the model.
 *
 * `NT_ERROR_ARGUMENT`: its first layers do not fix the shape; the message names the layer that needs it.
 * `NT_ERROR_UNSUPPORTED`: it has a layer that is not supported.
 */
NT_MUST_USE NtStatus nt_model_input_shape(const struct NtModel *model, struct NtSizes *out);

/**
 * What the model takes: names, which inputs hold integers, and the shapes where its first layers fix them. Of a model
 * of `nt_model_with_inputs`, the inputs that are left. `out` receives pointers that are valid as long as the model.
 */
NT_MUST_USE NtStatus nt_model_inputs(const struct NtModel *model, struct NtInputs *out);

/**
 * The same model, which shares the file, for inputs of these shapes and with these integers: for models of two inputs
 * (Bilinear, CosineSimilarity, PairwiseDistance) and of integers (those that begin with Embedding). Functions and
 * formulations are made of it with NULL for the shape. Other integers are another such model.
 *
 * `ranks` are the numbers of dimensions of the inputs in the order of `nt_model_inputs`, `sizes` the sizes of all, one
 * input after the other. `integers` are those of all inputs of integers, flat and row-major, in the same order, counted
 * from 0 as torch does; NULL where there are none. `x` consists of the other inputs.
 *
 * `NT_ERROR_ARGUMENT`: more or fewer inputs, sizes or integers than there should be, a shape that does not fit, or an
 * integer that is no row of the table; the message names it. `NT_ERROR_UNSUPPORTED`: a layer is custom or not supported.
 *
 * `out` receives the model, to be freed with `nt_model_destroy`; NULL on failure. It may outlive the first one.
 */
NT_MUST_USE
NtStatus nt_model_with_inputs(const struct NtModel *model,
                              NtShape ranks,
                              NtShape sizes,
                              NtIntegers integers,
                              struct NtModel **out);

/**
 * Writes the model to a file that torch 2.13 loads and runs, with the weights under their names.
 *
 * `format` is `pt2` (`torch.export.load`) or `torchscript` (`torch.jit.load`); NULL for the one that the path ends with,
 * `.pt2` or `.pt`. `dtype` is what the file computes in and stores its weights in, `float64` or `float32`; NULL for what
 * the weights are.
 *
 * `ranks` and `sizes` are those of the inputs, as for `nt_model_with_inputs`; `NT_ANY_SIZE` leaves a size open, where the
 * model's layers work with any. NULL for what the model asks for by itself, and for a model of `nt_model_with_inputs`,
 * whose integers then stand in the file.
 *
 * `NT_ERROR_ARGUMENT`: a path, format, dtype or shape that does not fit. `NT_ERROR_UNSUPPORTED`: a layer is custom or not
 * supported, or cannot be written for open sizes; the message names it. `NT_ERROR_IO`: the file cannot be written; one
 * that was there is as it was.
 */
NT_MUST_USE
NtStatus nt_model_write(const struct NtModel *model,
                        NtStr path,
                        NtStr format,
                        NtStr dtype,
                        NtShape ranks,
                        NtShape sizes);

/**
 * Checks the CRC-32 of every record of the model's file, whose numbers are otherwise checked when they are first used.
 *
 * `NT_ERROR_FORMAT`: a record is damaged; the message names it.
 */
NT_MUST_USE NtStatus nt_model_verify(const struct NtModel *model);

/**
 * Opens a file that `torch.save` wrote, of any version of torch, and gives the value at its root, whatever it is.
 *
 * What the file claims is checked before memory is taken; nothing that it names is called. The numbers of tensors are
 * read when they are first used, so the file must not be changed in place while a value or model of it lives.
 *
 * `NT_ERROR_IO`: the file cannot be read. `NT_ERROR_FORMAT`: it is damaged. `NT_ERROR_UNSUPPORTED`: it is of another
 * kind.
 *
 * `out` receives the value, to be freed with `nt_value_destroy`; NULL on failure.
 */
NT_MUST_USE NtStatus nt_value_open(NtStr path, struct NtValue **out);

/**
 * The same for a file in memory: `bytes`, which are not copied and must stay as they are until `release` is called with
 * `context`. That happens once, when the last value or model of the file is freed, or before this returns where it fails.
 * Where `release` is NULL, they must stay for as long as a value or model of the file lives.
 */
NT_MUST_USE
NtStatus nt_value_open_bytes(NtBytes bytes,
                             NtRelease release,
                             void *context,
                             struct NtValue **out);

/**
 * The same for a file behind a reader, which is called whenever a part of the file is needed, and is released when the
 * last value or model of the file is freed, or before this returns where it fails.
 */
NT_MUST_USE NtStatus nt_value_open_reader(const struct NtReader *reader, struct NtValue **out);

/**
 * Frees a value; NULL is allowed. Pointers that the value gave out are then invalid.
 */
NtStatus nt_value_destroy(struct NtValue *value);

/**
 * What a value is. `out` receives pointers that are valid as long as the value.
 */
NT_MUST_USE NtStatus nt_value_describe(const struct NtValue *value, struct NtDescription *out);

/**
 * The values in a value, as one table. `out` receives pointers that are valid as long as the value.
 */
NT_MUST_USE NtStatus nt_value_children(const struct NtValue *value, struct NtChildren *out);

/**
 * Value `index` of `nt_value_children` as a value of its own, to be freed with `nt_value_destroy`; `out` is NULL on
 * failure.
 *
 * `NT_ERROR_ARGUMENT`: there are not so many.
 */
NT_MUST_USE NtStatus nt_value_child(const struct NtValue *value, size_t index, struct NtValue **out);

/**
 * The key of entry `index` of a dict as a value of its own, to be freed with `nt_value_destroy`; `out` is NULL on failure.
 *
 * `NT_ERROR_ARGUMENT`: the value is no dict, or has not so many entries.
 */
NT_MUST_USE
NtStatus nt_value_key(const struct NtValue *value,
                      size_t index,
                      struct NtValue **out);

/**
 * The module that a value is, as a model. `out` receives it, to be freed with `nt_model_destroy`; NULL on failure.
 *
 * `NT_ERROR_UNSUPPORTED`: the value is no module; the message says what it is. `NT_ERROR_FORMAT`: the module is malformed.
 */
NT_MUST_USE
NtStatus nt_value_model(const struct NtValue *value,
                        struct NtModel **out);

/**
 * All tensors in a value, also those deeper in it, as one table. `out` receives pointers that are valid as long as the
 * value.
 *
 * `NT_ERROR_FORMAT`: the value contains itself. `NT_ERROR_UNSUPPORTED`: it is nested too deep.
 */
NT_MUST_USE NtStatus nt_value_tensors(const struct NtValue *value, struct NtTensors *out);

/**
 * The numbers of tensor `index` of `nt_value_tensors`, flat and row-major, converted to double; the first use checks the
 * CRC of the record in the file. `values` has as many elements as the tensor, or twice as many where it is complex: the
 * real and the imaginary part in turn.
 *
 * `NT_ERROR_FORMAT`: the record is damaged. `NT_ERROR_UNSUPPORTED`: the tensor cannot be used; see `reasons`.
 */
NT_MUST_USE
NtStatus nt_value_tensor_values(const struct NtValue *value,
                                size_t index,
                                NtSliceMut values);

/**
 * The same for a tensor of integers or bools, exactly; numbers of `uint64` are given with their bits.
 *
 * `NT_ERROR_ARGUMENT`: the tensor holds other numbers.
 */
NT_MUST_USE NtStatus nt_value_tensor_integers(const struct NtValue *value, size_t index, NtIntegersMut values);

/**
 * Checks the CRC-32 of every record of the value's file, whose numbers are otherwise checked when they are first used.
 *
 * `NT_ERROR_FORMAT`: a record is damaged; the message names it.
 */
NT_MUST_USE NtStatus nt_value_verify(const struct NtValue *value);

/**
 * Compiles a model for one shape of input.
 *
 * `shape` holds the sizes of the input's dimensions, the batch included; NULL stands for the model's own input shape
 * with one example in its batch (`nt_model_input_shape`; `[1, 64]` where that is `[NT_ANY_SIZE, 64]`). `dtype` is the
 * precision of the computation, `NT_FLOAT64` or `NT_FLOAT32`; weights are widened or rounded to it.
 *
 * `NT_ERROR_ARGUMENT`: the shape does not fit, or is NULL where the model does not fix it; the message names the layer.
 * `NT_ERROR_UNSUPPORTED`: a layer is custom or not supported; the message names it and says why.
 * `NT_ERROR_FORMAT`: the file's record of a tensor is damaged.
 *
 * `out` receives the function, to be freed with `nt_function_destroy`; NULL on failure.
 */
NT_MUST_USE
NtStatus nt_function_compile(const struct NtModel *model,
                             NtShape shape,
                             NtDType dtype,
                             struct NtFunction **out);

/**
 * Compiles a model for a backend, "native" or "libtorch", and a device, "cpu", "cuda" or "cuda:1"; the native engine knows
 * "cpu" alone. NULL stands for "native" and "cpu". The rest is as for `nt_function_compile`.
 *
 * libtorch is opened when it is first asked for (`nt_libtorch_open`). Programs that torch.jit.save wrote run on it as they
 * are, and those of torch.export call by call where the native engine does not know their operations; patterns are full
 * then and bounds infinite. Other models are handed to it as TorchScript. What was saved on another device is moved.
 *
 * In addition, `NT_ERROR_ARGUMENT`: there is no such backend or device. `NT_ERROR_UNSUPPORTED`: the libtorch backend is
 * not there or of another version, the device is not there, or libtorch lacks an operation; the message says what to do.
 */
NT_MUST_USE
NtStatus nt_function_compile_for(const struct NtModel *model,
                                 NtShape shape,
                                 NtDType dtype,
                                 NtStr backend,
                                 NtStr device,
                                 struct NtFunction **out);

/**
 * Frees a function; NULL is allowed. Its workspaces can then only be freed, before or after.
 */
NtStatus nt_function_destroy(struct NtFunction *function);

/**
 * What a function takes and gives. `out` receives pointers that are valid as long as the function.
 */
NT_MUST_USE NtStatus nt_function_signature(const struct NtFunction *function, struct NtSignature *out);

/**
 * The entries of the m x n Jacobian that can be other than zero. The first call computes them. `out` receives pointers
 * that are valid as long as the function.
 */
NT_MUST_USE NtStatus nt_function_jacobian_pattern(const struct NtFunction *function, struct NtPattern *out);

/**
 * The entries of the lower triangle (row >= column) of the n x n Hessian of mu'f that can be other than zero, whatever
 * mu is; none for a net of ReLUs. The first call computes them. `out` receives pointers that are valid as long as the
 * function.
 */
NT_MUST_USE NtStatus nt_function_hessian_pattern(const struct NtFunction *function, struct NtPattern *out);

/**
 * Bounds of the outputs where the inputs lie within bounds, by interval propagation: no value in double precision lies
 * outside. Lengths: `lower` and `upper` n, `y_lower` and `y_upper` m. Bounds may be infinite.
 *
 * `NT_ERROR_ARGUMENT`: a length is wrong; a lower bound exceeds its upper one. `NT_ERROR_FORMAT`: the file's record of a
 * tensor is damaged.
 */
NT_MUST_USE
NtStatus nt_function_bounds(const struct NtFunction *function,
                            NtSlice lower,
                            NtSlice upper,
                            NtSliceMut y_lower,
                            NtSliceMut y_upper);

/**
 * Makes a workspace for calls of this function. A call allocates nothing once the workspace has seen its kind before;
 * values at the last point are kept, so that f, J and H at one x share the forward pass.
 *
 * `out` receives the workspace, to be freed with `nt_workspace_destroy`; NULL on failure.
 */
NT_MUST_USE NtStatus nt_workspace_create(const struct NtFunction *function, struct NtWorkspace **out);

/**
 * Frees a workspace; NULL is allowed.
 */
NtStatus nt_workspace_destroy(struct NtWorkspace *workspace);

/**
 * Lets calls with this workspace use so many threads, the caller's included; a new workspace uses one. The threads share
 * the points of a call, or the large products of a single one; results do not depend on their number. Only calls on one
 * thread promise not to allocate.
 *
 * `NT_ERROR_ARGUMENT`: `threads` is 0 or more than 1024; the system does not give so many; another call is using the workspace.
 */
NT_MUST_USE
NtStatus nt_workspace_set_threads(const struct NtWorkspace *workspace,
                                  size_t threads);

/**
 * f at K points. Lengths: `x` K n, `y` K m.
 *
 * This and all that follow: K is the length of `x` divided by n; points stand one after another in every array. A NULL
 * handle or array, a wrong length, an array to write that overlaps one to read, a workspace of another function and one
 * that another call is using are `NT_ERROR_ARGUMENT`; what is written then is unspecified.
 */
NT_MUST_USE
NtStatus nt_function_value(const struct NtFunction *function,
                           const struct NtWorkspace *workspace,
                           NtSlice x,
                           NtSliceMut y);

/**
 * The m x n Jacobian at K points. Lengths: `x` K n; `values` K m n for `NT_ROW_MAJOR` and `NT_COLUMN_MAJOR`, K times the
 * count of `nt_function_jacobian_pattern` for `NT_PATTERN`.
 */
NT_MUST_USE
NtStatus nt_function_jacobian(const struct NtFunction *function,
                              const struct NtWorkspace *workspace,
                              NtSlice x,
                              NtOrder order,
                              NtSliceMut values);

/**
 * J v at K points, each with a v of its own. Lengths: `x` and `v` K n, `out` K m.
 */
NT_MUST_USE
NtStatus nt_function_jvp(const struct NtFunction *function,
                         const struct NtWorkspace *workspace,
                         NtSlice x,
                         NtSlice v,
                         NtSliceMut out);

/**
 * J'u at K points, each with a u of its own. Lengths: `x` K n, `u` K m, `out` K n.
 */
NT_MUST_USE
NtStatus nt_function_vjp(const struct NtFunction *function,
                         const struct NtWorkspace *workspace,
                         NtSlice x,
                         NtSlice u,
                         NtSliceMut out);

/**
 * The n x n Hessian of mu'f at K points, each with a mu of its own. Lengths: `x` K n; `mu` K m; `values` K n n for
 * `NT_ROW_MAJOR` and `NT_COLUMN_MAJOR`, which give both triangles and are the same; K times the count of
 * `nt_function_hessian_pattern` for `NT_PATTERN`, which gives the lower triangle.
 */
NT_MUST_USE
NtStatus nt_function_hessian(const struct NtFunction *function,
                             const struct NtWorkspace *workspace,
                             NtSlice x,
                             NtSlice mu,
                             NtOrder order,
                             NtSliceMut values);

/**
 * The Hessian of mu'f times v at K points, each with a mu and a v of its own. Lengths: `x` and `v` K n, `mu` K m, `out`
 * K n.
 */
NT_MUST_USE
NtStatus nt_function_hvp(const struct NtFunction *function,
                         const struct NtWorkspace *workspace,
                         NtSlice x,
                         NtSlice mu,
                         NtSlice v,
                         NtSliceMut out);

/**
 * The parameters by which `nt_function_parameter_gradient` gives derivatives, in its order; none on the native engine.
 * `out` receives pointers that are valid as long as the function.
 */
NT_MUST_USE NtStatus nt_function_parameters(const struct NtFunction *function, struct NtValues *out);

/**
 * The derivatives of u'f by the parameters at K points, each with a u of its own. Lengths: `x` K n, `u` K m, `out` K times
 * the number of elements of all of `nt_function_parameters`, each flat and row-major, one after another.
 *
 * `NT_ERROR_UNSUPPORTED`: the function was compiled for the native engine, which does not give them.
 */
NT_MUST_USE
NtStatus nt_function_parameter_gradient(const struct NtFunction *function,
                                        const struct NtWorkspace *workspace,
                                        NtSlice x,
                                        NtSlice u,
                                        NtSliceMut out);

/**
 * Opens the libtorch backend, which is a library of its own, and says what it is. A process opens it once; without this
 * call, that happens when a function is first compiled for it.
 *
 * `path` is the library `libnative_torch_libtorch.so`; NULL stands for what the environment variable
 * NATIVE_TORCH_LIBTORCH names, and without that for the library beside this one or beside the program.
 *
 * `NT_ERROR_ARGUMENT`: another one is open already. `NT_ERROR_UNSUPPORTED`: it is not there, libtorch is missing, or either
 * has another version; the message says what to do.
 */
NT_MUST_USE
NtStatus nt_libtorch_open(NtStr path,
                          struct NtLibtorch *out);

/**
 * Bounds all values of a model over a box of its inputs. No bound cuts off a value of the model, exact or as computed in
 * float64; those of mixed-integer programs, and of linear ones whose solver gives no multipliers, rest on the solver's
 * word, moved outward by 1e-6 relative to the value's size.
 *
 * `shape` is as for `nt_function_compile`. `lower` and `upper` are the bounds of the n inputs, flat; they may be
 * infinite. `options` may be NULL. A program that fails or runs out of time is no error: its element keeps the bounds it
 * had, and the tables count it.
 *
 * `NT_ERROR_ARGUMENT`: the shape does not fit or is missing; a length is not n; a lower bound exceeds its upper one; no
 * point meets the rows; an unknown method or solver. `NT_ERROR_UNSUPPORTED`: a layer is custom or has no bounds; the
 * message names it. `NT_ERROR_FORMAT`: the file's record of a tensor is damaged.
 *
 * `out` receives the bounds, to be freed with `nt_bounds_destroy`; NULL on failure.
 */
NT_MUST_USE
NtStatus nt_bounds_create(const struct NtModel *model,
                          NtShape shape,
                          NtSlice lower,
                          NtSlice upper,
                          NtBoundsMethod method,
                          const struct NtBoundsOptions *options,
                          struct NtBounds **out);

/**
 * Frees bounds; NULL is allowed. Pointers that they gave out are then invalid.
 */
NtStatus nt_bounds_destroy(struct NtBounds *bounds);

/**
 * Bounds as arrays. `out` receives pointers that are valid as long as the bounds.
 */
NT_MUST_USE NtStatus nt_bounds_tables(const struct NtBounds *bounds, struct NtBoundsTables *out);

/**
 * Formulates a model: by default in full space, a variable for each element of each layer with bounds by interval
 * propagation.
 *
 * `shape` is as for `nt_function_compile`. `lower` and `upper` are the bounds of the n inputs, flat; infinite ones are
 * allowed where nothing depends on them that needs finite ones. `start`, of length n, is a point whose forward pass
 * becomes the start values of all variables; NULL for none.
 *
 * `options` are choices between commas; NULL or an empty text for none.
 *
 * - `space=full` or `space=reduced`: in reduced space the inputs are the only variables, and the outputs are expressions.
 * - `fold=on` or `fold=off`: whether constants, BatchNorms and chains of affine layers are folded into one layer first.
 * - `KIND=FORM` chooses the form of a kind of layer: `relu=sos1`, `softplus=epigraph`. `relu` stands for all functions of
 *   one element that are piecewise linear and have no form of their own, `max_pool` for all maxima.
 * - `layer PATH=FORM` does so for one layer.
 *
 * The forms of `relu` and its kin are `nonlinear`, `big_m` (the default in full space), `big_m(M)`, `sos1`, `quadratic`,
 * `quadratic(RELAXATION)`, `complementarity`, `indicator`, `epigraph` and `partition(PARTS)`; `max_pool` has these and
 * `pairwise`; `softplus` has `nonlinear`, `epigraph` and `cone`. In reduced space all have `nonlinear` only. Where the
 * sign of a layer's input is certain, nothing is switched.
 *
 * `NT_ERROR_ARGUMENT`: the shape does not fit or is missing; a length is not n; a lower bound exceeds its upper one; an
 * option is unknown; a form needs bounds that are infinite, or a big-M is smaller than known bounds, with the layer.
 * `NT_ERROR_UNSUPPORTED`: a layer is custom or has no such form; the message names it. `NT_ERROR_FORMAT`: the file's
 * record of a tensor is damaged.
 *
 * `out` receives the formulation, to be freed with `nt_formulation_destroy`; NULL on failure.
 */
NT_MUST_USE
NtStatus nt_formulation_create(const struct NtModel *model,
                               NtShape shape,
                               NtSlice lower,
                               NtSlice upper,
                               NtSlice start,
                               NtStr options,
                               struct NtFormulation **out);

/**
 * The formulation of a model as `nt_formulation_create`'s, with bounds that `nt_bounds_create` found for all its values:
 * tighter bounds make a tighter formulation with fewer binaries. `start` and `options` are as there. The bounds are not needed any
 * more afterwards.
 *
 * `NT_ERROR_ARGUMENT` and `NT_ERROR_UNSUPPORTED` are as there. `out` receives the formulation, to be freed with
 * `nt_formulation_destroy`; NULL on failure.
 */
NT_MUST_USE
NtStatus nt_formulation_create_bounded(const struct NtBounds *bounds,
                                       NtSlice start,
                                       NtStr options,
                                       struct NtFormulation **out);

/**
 * Frees a formulation; NULL is allowed. Pointers that it gave out are then invalid.
 */
NtStatus nt_formulation_destroy(struct NtFormulation *formulation);

/**
 * All of a formulation as arrays. `out` receives pointers that are valid as long as the formulation.
 */
NT_MUST_USE NtStatus nt_formulation_tables(const struct NtFormulation *formulation, struct NtTables *out);

/**
 * The values of all variables where the inputs are `x`: the model's forward pass, with the binaries that go with it.
 * Lengths: `x` the number of inputs, `values` the number of variables.
 */
NT_MUST_USE NtStatus nt_formulation_evaluate(const struct NtFormulation *formulation, NtSlice x, NtSliceMut values);

/**
 * The outputs where the variables have these values: in full space those of the output variables, in reduced space those
 * of the output expressions. Lengths: `values` the number of variables, `outputs` the number of outputs.
 */
NT_MUST_USE
NtStatus nt_formulation_outputs(const struct NtFormulation *formulation,
                                NtSlice values,
                                NtSliceMut outputs);

/**
 * Checks that these values of all variables satisfy the formulation, each row and bound to a tolerance relative to its
 * largest term.
 *
 * `NT_ERROR_ARGUMENT`: they do not; the message names the first row or bound that they break.
 */
NT_MUST_USE NtStatus nt_formulation_check(const struct NtFormulation *formulation, NtSlice values, double tolerance);

/**
 * The largest difference between outputs that a solver gives for inputs `x`, and the model's own forward pass. `out`
 * receives it; NaN where an output is NaN. Lengths: `x` the number of inputs, `y` the number of outputs.
 */
NT_MUST_USE NtStatus nt_formulation_error(const struct NtFormulation *formulation, NtSlice x, NtSlice y, double *out);

/**
 * A formulation as text: its variables with their bounds, then its rows layer by layer, with numbers to six digits.
 * `out` receives a string that is valid as long as the formulation.
 */
NT_MUST_USE NtStatus nt_formulation_text(const struct NtFormulation *formulation, const char **out);

/**
 * Writes a formulation to a file for other solvers and modelling languages, in the format that the path ends with:
 * `.mps` (free, always minimised: what is maximised has its sign changed), `.lp` (CPLEX's), `.nl` (AMPL's, as text, with
 * the names of the variables, a line each, in a file `.col` beside it) or `.mof.json` (MathOptFormat 1.7).
 *
 * In MPS and LP files, names have `~` for a blank, round brackets for square ones, and as in URLs, `%` and two hexadecimal
 * digits for all bytes but letters, digits, `.` and `_`, and for an `e` or a digit in front.
 *
 * `objective` is `minimize` or `maximize` and an expression in the inputs `x[i]` and outputs `y[j]`, as the command's:
 * `maximize y[0] - 2 * y[1]`. NULL for none: 0 is then minimised. In reduced space, the outputs get variables `y`.
 *
 * `NT_ERROR_ARGUMENT`: the path ends otherwise, or the objective is no linear expression. `NT_ERROR_UNSUPPORTED`: the
 * format does not hold a part of the formulation; the message names the layer and what to choose instead.
 * `NT_ERROR_IO`: the file cannot be written.
 */
NT_MUST_USE
NtStatus nt_formulation_write(const struct NtFormulation *formulation,
                              NtStr path,
                              NtStr objective);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* NATIVE_TORCH_H */
