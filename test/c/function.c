/* Values and derivatives, and every argument wrong once. */
#include "check.h"

enum { N = 4, M = 3, K = 2 };

static const double X[K * N] = {0.25, -0.5, 0.75, 1.0, -1.0, 0.5, 0.0, 2.0};
static const double V[K * N] = {1.0, -2.0, 0.5, 0.25, 0.0, 1.0, -1.0, 3.0};
static const double U[K * M] = {0.5, -1.0, 2.0, 1.0, 1.0, -0.25};

/* sum of a[i] b[i stride] */
static double dot(const double *a, const double *b, size_t count, size_t stride) {
  double sum = 0.0;
  size_t i;
  for (i = 0; i < count; i++) sum += a[i] * b[i * stride];
  return sum;
}

static void derivatives_agree(const NtFunction *function) {
  NtSignature signature;
  NtWorkspace *workspace = NULL;
  NtPattern places, second;
  double y[K * M], rows[K * M * N], again[K * M * N], columns[K * M * N], entries[K * M * N];
  double jvp[K * M], vjp[K * N], hessian[K * N * N], lower[K * N * N], hvp[K * N];
  NtSlice x = reading(X, K * N), v = reading(V, K * N), u = reading(U, K * M);
  size_t p, i, j, e;

  OK(nt_function_signature(function, &signature));
  CHECK(signature.n == N && signature.m == M && signature.dtype == NT_FLOAT64);
  CHECK(signature.inputs.count == 1 && signature.outputs.count == 1);
  CHECK(strlen(string(signature.inputs.names, 0)) > 0);
  CHECK(signature.inputs.shape_starts[1] == 2);
  CHECK(signature.inputs.sizes[0] == 1 && signature.inputs.sizes[1] == N);
  CHECK(signature.outputs.sizes[0] == 1 && signature.outputs.sizes[1] == M);
  OK(nt_workspace_create(function, &workspace));
  OK(nt_function_jacobian_pattern(function, &places));
  OK(nt_function_hessian_pattern(function, &second));
  CHECK(places.count == M * N && second.count == N * (N + 1) / 2);

  OK(nt_function_value(function, workspace, x, writing(y, K * M)));
  OK(nt_function_jacobian(function, workspace, x, NT_ROW_MAJOR, writing(rows, K * M * N)));
  OK(nt_function_jacobian(function, workspace, x, NT_COLUMN_MAJOR, writing(columns, K * M * N)));
  OK(nt_function_jacobian(function, workspace, x, NT_PATTERN, writing(entries, K * places.count)));
  OK(nt_function_jvp(function, workspace, x, v, writing(jvp, K * M)));
  OK(nt_function_vjp(function, workspace, x, u, writing(vjp, K * N)));
  OK(nt_function_hessian(function, workspace, x, u, NT_ROW_MAJOR, writing(hessian, K * N * N)));
  OK(nt_function_hessian(function, workspace, x, u, NT_PATTERN, writing(lower, K * second.count)));
  OK(nt_function_hvp(function, workspace, x, u, v, writing(hvp, K * N)));
  for (p = 0; p < K; p++) {
    const double *jacobian = rows + p * M * N, *h = hessian + p * N * N;
    for (i = 0; i < M; i++) {
      CHECK(y[p * M + i] == y[p * M + i]);
      CHECK(near(jvp[p * M + i], dot(V + p * N, jacobian + i * N, N, 1)));
      for (j = 0; j < N; j++) CHECK(jacobian[i * N + j] == columns[p * M * N + j * M + i]);
    }
    for (e = 0; e < places.count; e++)
      CHECK(entries[p * places.count + e] == jacobian[places.rows[e] * N + places.columns[e]]);
    for (j = 0; j < N; j++) {
      CHECK(near(vjp[p * N + j], dot(U + p * M, jacobian + j, M, N)));
      CHECK(near(hvp[p * N + j], dot(V + p * N, h + j * N, N, 1)));
    }
    for (e = 0; e < second.count; e++) {
      i = second.rows[e];
      j = second.columns[e];
      CHECK(i >= j && h[i * N + j] == h[j * N + i] && lower[p * second.count + e] == h[i * N + j]);
    }
  }
  OK(nt_workspace_set_threads(workspace, 3));
  OK(nt_function_jacobian(function, workspace, x, NT_ROW_MAJOR, writing(again, K * M * N)));
  CHECK(memcmp(again, rows, sizeof rows) == 0);
  CHECK(nt_workspace_set_threads(workspace, 0) == NT_ERROR_ARGUMENT);
  OK(nt_workspace_destroy(workspace));
}

static void bounds_hold(const NtFunction *function) {
  const double low[N] = {-1.0, -0.5, 0.0, 1.0}, high[N] = {1.0, 0.5, 1.0, 1.0}, inside[N] = {0.5, 0.25, 0.75, 1.0};
  double y[M], y_lower[M], y_upper[M];
  NtWorkspace *workspace = NULL;
  size_t i;
  OK(nt_function_bounds(function, reading(low, N), reading(high, N), writing(y_lower, M), writing(y_upper, M)));
  OK(nt_workspace_create(function, &workspace));
  OK(nt_function_value(function, workspace, reading(inside, N), writing(y, M)));
  for (i = 0; i < M; i++) CHECK(y_lower[i] < y[i] && y[i] < y_upper[i]);
  OK(nt_workspace_destroy(workspace));
  REFUSED(nt_function_bounds(function, reading(high, N), reading(low, N), writing(y_lower, M), writing(y_upper, M)),
          NT_ERROR_ARGUMENT, "x[0]");
  REFUSED(nt_function_bounds(function, reading(low, N), reading(high, N - 1), writing(y_lower, M), writing(y_upper, M)),
          NT_ERROR_ARGUMENT, "length 3");
  REFUSED(nt_function_bounds(function, reading(low, N), reading(high, N), writing(y_lower, M), writing(y_upper, M - 1)),
          NT_ERROR_ARGUMENT, "y_upper");
  REFUSED(nt_function_bounds(NULL, reading(low, N), reading(high, N), writing(y_lower, M), writing(y_upper, M)),
          NT_ERROR_ARGUMENT, "function is NULL");
}

static void shapes_and_precisions(const char *models) {
  NtModel *model = opened(models, "nets/mlp_sigmoid.pt");
  NtFunction *function = NULL;
  NtWorkspace *workspace = NULL;
  NtSignature signature;
  const size_t batch[] = {K, N}, wrong[] = {K, N + 1};
  double y[K * M];
  size_t i;
  OK(nt_function_compile(model, sizes(batch, 2), NT_FLOAT32, &function));
  OK(nt_function_signature(function, &signature));
  CHECK(signature.n == K * N && signature.m == K * M && signature.dtype == NT_FLOAT32);
  OK(nt_workspace_create(function, &workspace));
  OK(nt_function_value(function, workspace, reading(X, K * N), writing(y, K * M)));
  for (i = 0; i < K * M; i++) CHECK((double)(float)y[i] == y[i]);
  OK(nt_workspace_destroy(workspace));
  OK(nt_function_destroy(function));
  REFUSED(nt_function_compile(model, sizes(wrong, 2), NT_FLOAT64, &function), NT_ERROR_ARGUMENT, "layer `0");
  CHECK(function == NULL);
  REFUSED(nt_function_compile(model, own_shape(), 2, &function), NT_ERROR_ARGUMENT, "dtype is 2");
  REFUSED(nt_function_compile(NULL, own_shape(), NT_FLOAT64, &function), NT_ERROR_ARGUMENT, "model is NULL");
  REFUSED(nt_function_compile(model, own_shape(), NT_FLOAT64, NULL), NT_ERROR_ARGUMENT, "out is NULL");
  OK(nt_model_destroy(model));
}

/* A net of ReLUs has no second derivative: there is nothing to write, and NULL will do for it. */
static void no_second_derivative(const char *models) {
  NtFunction *function = compiled(models, "nets/mlp_relu.pt");
  NtWorkspace *workspace = NULL;
  NtPattern pattern;
  OK(nt_workspace_create(function, &workspace));
  OK(nt_function_hessian_pattern(function, &pattern));
  CHECK(pattern.count == 0);
  OK(nt_function_hessian(function, workspace, reading(X, N), reading(U, M), NT_PATTERN, writing(NULL, 0)));
  OK(nt_workspace_destroy(workspace));
  OK(nt_function_destroy(function));
}

/* A function that needs one more array than the last. */
typedef struct Call {
  const NtFunction *function;
  const NtWorkspace *workspace;
} Call;

static NtStatus value(Call c, NtSlice x, NtSliceMut out) {
  return nt_function_value(c.function, c.workspace, x, out);
}

static NtStatus jacobian(Call c, NtSlice x, NtSliceMut out) {
  return nt_function_jacobian(c.function, c.workspace, x, NT_ROW_MAJOR, out);
}

static NtStatus jvp(Call c, NtSlice x, NtSlice v, NtSliceMut out) {
  return nt_function_jvp(c.function, c.workspace, x, v, out);
}

static NtStatus vjp(Call c, NtSlice x, NtSlice u, NtSliceMut out) {
  return nt_function_vjp(c.function, c.workspace, x, u, out);
}

static NtStatus hessian(Call c, NtSlice x, NtSlice mu, NtSliceMut out) {
  return nt_function_hessian(c.function, c.workspace, x, mu, NT_ROW_MAJOR, out);
}

static NtStatus hvp_in_v(Call c, NtSlice x, NtSlice v, NtSliceMut out) {
  return nt_function_hvp(c.function, c.workspace, x, reading(U, M), v, out);
}

static NtStatus hvp_in_mu(Call c, NtSlice x, NtSlice mu, NtSliceMut out) {
  return nt_function_hvp(c.function, c.workspace, x, mu, reading(V, N), out);
}

static void wrong_arguments(const NtFunction *function, const NtFunction *other) {
  const struct {
    NtStatus (*call)(Call, NtSlice, NtSliceMut);
    size_t out;
  } one[] = {{value, M}, {jacobian, M * N}};
  const struct {
    NtStatus (*call)(Call, NtSlice, NtSlice, NtSliceMut);
    const double *data;
    size_t len, out;
    const char *name;
  } two[] = {
      {jvp, V, N, M, "v"},       {vjp, U, M, N, "u"},         {hessian, U, M, N * N, "mu"},
      {hvp_in_v, V, N, N, "v"},  {hvp_in_mu, U, M, N, "mu"},
  };
  double out[2 * N * N], own[2 * N];
  NtWorkspace *workspace = NULL, *foreign = NULL;
  NtSignature signature;
  NtPattern pattern;
  Call right = {NULL, NULL}, headless, homeless, stranger;
  size_t i;
  OK(nt_workspace_create(function, &workspace));
  OK(nt_workspace_create(other, &foreign));
  right.function = function;
  right.workspace = workspace;
  headless = homeless = stranger = right;
  headless.function = NULL;
  homeless.workspace = NULL;
  stranger.workspace = foreign;

  for (i = 0; i < LENGTH(one); i++) {
    NtSlice x = reading(X, N);
    NtSliceMut y = writing(out, one[i].out);
    OK(one[i].call(right, x, y));
    REFUSED(one[i].call(headless, x, y), NT_ERROR_ARGUMENT, "function is NULL");
    REFUSED(one[i].call(homeless, x, y), NT_ERROR_ARGUMENT, "workspace is NULL");
    REFUSED(one[i].call(stranger, x, y), NT_ERROR_ARGUMENT, "another function");
    REFUSED(one[i].call(right, reading(NULL, N), y), NT_ERROR_ARGUMENT, "x is NULL");
    REFUSED(one[i].call(right, reading(X, N - 1), y), NT_ERROR_ARGUMENT, "x has length 3");
    REFUSED(one[i].call(right, reading(X, N + 1), y), NT_ERROR_ARGUMENT, "x has length 5");
    REFUSED(one[i].call(right, reading(X, 0), y), NT_ERROR_ARGUMENT, "x has length 0");
    REFUSED(one[i].call(right, reading(X, 2 * N), y), NT_ERROR_ARGUMENT, "2 point");
    REFUSED(one[i].call(right, x, writing(NULL, one[i].out)), NT_ERROR_ARGUMENT, "is NULL");
    REFUSED(one[i].call(right, x, writing(out, one[i].out - 1)), NT_ERROR_ARGUMENT, "length");
    REFUSED(one[i].call(right, x, writing(out, one[i].out + 1)), NT_ERROR_ARGUMENT, "length");
    REFUSED(one[i].call(right, reading(out, N), y), NT_ERROR_ARGUMENT, "overlaps");
    REFUSED(one[i].call(right, reading((const double *)((const char *)out + 1), N), y), NT_ERROR_ARGUMENT, "aligned");
    REFUSED(one[i].call(right, reading(X, SIZE_MAX), y), NT_ERROR_ARGUMENT, "larger than memory");
  }
  for (i = 0; i < LENGTH(two); i++) {
    NtSlice x = reading(X, N), a = reading(two[i].data, two[i].len);
    NtSliceMut y = writing(out, two[i].out);
    OK(two[i].call(right, x, a, y));
    REFUSED(two[i].call(headless, x, a, y), NT_ERROR_ARGUMENT, "function is NULL");
    REFUSED(two[i].call(homeless, x, a, y), NT_ERROR_ARGUMENT, "workspace is NULL");
    REFUSED(two[i].call(stranger, x, a, y), NT_ERROR_ARGUMENT, "another function");
    REFUSED(two[i].call(right, reading(NULL, N), a, y), NT_ERROR_ARGUMENT, "x is NULL");
    REFUSED(two[i].call(right, reading(X, N - 1), a, y), NT_ERROR_ARGUMENT, "x has length 3");
    REFUSED(two[i].call(right, x, reading(NULL, two[i].len), y), NT_ERROR_ARGUMENT, two[i].name);
    REFUSED(two[i].call(right, x, reading(two[i].data, two[i].len - 1), y), NT_ERROR_ARGUMENT, two[i].name);
    REFUSED(two[i].call(right, x, reading(two[i].data, two[i].len + 1), y), NT_ERROR_ARGUMENT, two[i].name);
    REFUSED(two[i].call(right, x, a, writing(NULL, two[i].out)), NT_ERROR_ARGUMENT, "is NULL");
    REFUSED(two[i].call(right, x, a, writing(out, two[i].out - 1)), NT_ERROR_ARGUMENT, "length");
    REFUSED(two[i].call(right, x, a, writing(out, two[i].out + 1)), NT_ERROR_ARGUMENT, "length");
    memcpy(own, two[i].data, two[i].len * sizeof *own);
    REFUSED(two[i].call(right, x, reading(own, two[i].len), writing(own, two[i].out)), NT_ERROR_ARGUMENT, "overlaps");
  }
  REFUSED(nt_function_jacobian(function, workspace, reading(X, N), 3, writing(out, M * N)), NT_ERROR_ARGUMENT, "order is 3");
  REFUSED(nt_function_hessian(function, workspace, reading(X, N), reading(U, M), 9, writing(out, N * N)),
          NT_ERROR_ARGUMENT, "order is 9");
  REFUSED(nt_function_signature(NULL, &signature), NT_ERROR_ARGUMENT, "function is NULL");
  REFUSED(nt_function_signature(function, NULL), NT_ERROR_ARGUMENT, "out is NULL");
  REFUSED(nt_function_jacobian_pattern(NULL, &pattern), NT_ERROR_ARGUMENT, "function is NULL");
  REFUSED(nt_function_jacobian_pattern(function, NULL), NT_ERROR_ARGUMENT, "out is NULL");
  REFUSED(nt_function_hessian_pattern(NULL, &pattern), NT_ERROR_ARGUMENT, "function is NULL");
  REFUSED(nt_function_hessian_pattern(function, NULL), NT_ERROR_ARGUMENT, "out is NULL");
  REFUSED(nt_workspace_create(function, NULL), NT_ERROR_ARGUMENT, "out is NULL");
  OK(nt_workspace_destroy(workspace));
  REFUSED(nt_workspace_create(NULL, &workspace), NT_ERROR_ARGUMENT, "function is NULL");
  CHECK(workspace == NULL);
  OK(nt_workspace_destroy(foreign));
  OK(nt_workspace_destroy(NULL));
  OK(nt_function_destroy(NULL));
}

int main(int argc, char **argv) {
  NtFunction *function, *other;
  CHECK(argc == 2);
  function = compiled(argv[1], "nets/mlp_sigmoid.pt");
  other = compiled(argv[1], "nets/mlp_softplus.pt");
  derivatives_agree(function);
  bounds_hold(function);
  wrong_arguments(function, other);
  OK(nt_function_destroy(function));
  OK(nt_function_destroy(other));
  shapes_and_precisions(argv[1]);
  no_second_derivative(argv[1]);
  return 0;
}
