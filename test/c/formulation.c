/* Formulations: the forward pass satisfies every row, and every argument is wrong once. */
#include "check.h"

enum { N = 4, M = 3 };

static const double LOWER[N] = {-1.0, -1.0, -1.0, -1.0};
static const double UPPER[N] = {1.0, 1.0, 1.0, 1.0};
static const double X[N] = {0.25, -0.5, 0.75, 1.0};

static NtFormulation *create(const NtModel *model, const double *start) {
  NtFormulation *formulation = NULL;
  OK(nt_formulation_create(model, own_shape(), reading(LOWER, N), reading(UPPER, N), reading(start, N), NULL, &formulation));
  return formulation;
}

/* Every row of the table holds at these values. */
static void check_rows(NtRows rows, const double *values) {
  size_t row, e;
  for (row = 0; row < rows.count; row++) {
    double sum = 0.0;
    for (e = rows.starts[row]; e < rows.starts[row + 1]; e++) {
      sum += rows.coefficients[e] * values[rows.variables[e]];
      CHECK(e == rows.starts[row] || rows.variables[e - 1] < rows.variables[e]);
    }
    CHECK(sum >= rows.lower[row] - 1e-9 && sum <= rows.upper[row] + 1e-9);
  }
}

static void relu(const char *models) {
  NtModel *model = opened(models, "nets/mlp_relu.pt");
  NtFormulation *formulation = create(model, X);
  NtFunction *function = compiled(models, "nets/mlp_relu.pt");
  NtWorkspace *workspace = NULL;
  NtTables tables;
  const char *text = NULL;
  double *values, y[M];
  size_t i, binaries = 0;
  OK(nt_model_destroy(model));
  OK(nt_formulation_tables(formulation, &tables));
  CHECK(tables.input_count == N && tables.output_count == M);
  CHECK(tables.definitions.tapes.count == 0 && tables.sos1.count == 0 && tables.indicators.rows.count == 0);
  CHECK(tables.quadratic.rows.count == 0 && tables.cones.count == 0 && tables.complementarities.count == 0);
  values = (double *)malloc(tables.variables.count * sizeof *values);
  CHECK(values != NULL);
  OK(nt_formulation_evaluate(formulation, reading(X, N), writing(values, tables.variables.count)));
  for (i = 0; i < tables.variables.count; i++) {
    CHECK(values[i] >= tables.variables.lower[i] - 1e-9 && values[i] <= tables.variables.upper[i] + 1e-9);
    CHECK(values[i] == tables.variables.start[i]);
    CHECK(tables.variables.blocks[i] < tables.blocks.count);
    if (tables.variables.domains[i] == NT_BINARY) {
      CHECK(values[i] == 0.0 || values[i] == 1.0);
      binaries++;
    }
  }
  CHECK(binaries > 0);
  check_rows(tables.rows, values);
  for (i = 0; i < N; i++) {
    CHECK(tables.variables.lower[tables.inputs[i]] == LOWER[i] && tables.variables.upper[tables.inputs[i]] == UPPER[i]);
    CHECK(values[tables.inputs[i]] == X[i]);
  }
  CHECK(tables.blocks.layers[tables.variables.blocks[tables.inputs[0]]] == NT_NO_LAYER);
  CHECK(strstr(string(tables.layers, tables.rows.layers[0]), "torch.nn.modules.linear.Linear") != NULL);
  OK(nt_workspace_create(function, &workspace));
  OK(nt_function_value(function, workspace, reading(X, N), writing(y, M)));
  for (i = 0; i < M; i++) CHECK(near(values[tables.outputs[i]], y[i]));
  OK(nt_formulation_text(formulation, &text));
  CHECK(strstr(text, "binary") != NULL);
  free(values);
  OK(nt_workspace_destroy(workspace));
  OK(nt_function_destroy(function));
  OK(nt_formulation_destroy(formulation));
}

/* Sigmoids become tapes: one value is left of each. */
static void smooth(const char *models) {
  NtModel *model = opened(models, "nets/mlp_sigmoid.pt");
  NtFormulation *formulation = create(model, NULL);
  NtTapes definitions;
  NtTables tables;
  size_t i, at;
  OK(nt_formulation_tables(formulation, &tables));
  definitions = tables.definitions.tapes;
  CHECK(definitions.count > 0);
  for (i = 0; i < definitions.count; i++) {
    size_t height = 0;
    for (at = definitions.starts[i]; at < definitions.starts[i + 1]; at++) {
      if (definitions.codes[at] > NT_OP_VARIABLE) {
        CHECK(definitions.codes[at] <= NT_OP_GREATER && definitions.arguments[at] <= height);
        height -= definitions.arguments[at];
      } else if (definitions.codes[at] == NT_OP_CONSTANT) {
        CHECK(definitions.arguments[at] < definitions.constant_count);
      } else {
        CHECK(definitions.arguments[at] < tables.variables.count);
      }
      height++;
    }
    CHECK(height == 1);
  }
  CHECK(tables.variables.start[0] != tables.variables.start[0]);
  OK(nt_formulation_destroy(formulation));
  OK(nt_model_destroy(model));
}

static void wrong_arguments(const char *models) {
  NtModel *model = opened(models, "nets/mlp_relu.pt");
  NtFormulation *formulation = create(model, X), *none = NULL;
  NtTables tables;
  const char *text;
  double values[1], infinite[N] = {HUGE_VAL, HUGE_VAL, HUGE_VAL, HUGE_VAL};
  NtSlice lower = reading(LOWER, N), upper = reading(UPPER, N), nothing = reading(NULL, 0);
  REFUSED(nt_formulation_create(NULL, own_shape(), lower, upper, nothing, NULL, &none), NT_ERROR_ARGUMENT, "model is NULL");
  REFUSED(nt_formulation_create(model, own_shape(), nothing, upper, nothing, NULL, &none), NT_ERROR_ARGUMENT, "lower is NULL");
  REFUSED(nt_formulation_create(model, own_shape(), lower, nothing, nothing, NULL, &none), NT_ERROR_ARGUMENT, "upper is NULL");
  REFUSED(nt_formulation_create(model, own_shape(), lower, upper, nothing, NULL, NULL), NT_ERROR_ARGUMENT, "out is NULL");
  REFUSED(nt_formulation_create(model, own_shape(), reading(LOWER, 3), upper, nothing, NULL, &none), NT_ERROR_ARGUMENT, "3");
  REFUSED(nt_formulation_create(model, own_shape(), reading(LOWER, 3), reading(UPPER, 3), nothing, NULL, &none),
          NT_ERROR_ARGUMENT, "3 bounds");
  REFUSED(nt_formulation_create(model, own_shape(), lower, upper, reading(X, 3), NULL, &none), NT_ERROR_ARGUMENT, "3");
  REFUSED(nt_formulation_create(model, own_shape(), upper, lower, nothing, NULL, &none), NT_ERROR_ARGUMENT, "x[0]");
  REFUSED(nt_formulation_create(model, own_shape(), lower, reading(infinite, N), nothing, NULL, &none), NT_ERROR_ARGUMENT,
          "layer `");
  REFUSED(nt_formulation_create(model, own_shape(), lower, upper, nothing, "relu=cone", &none), NT_ERROR_ARGUMENT,
          "complementarity");
  REFUSED(nt_formulation_create(model, own_shape(), lower, upper, nothing, "space=reduced,relu=sos1", &none),
          NT_ERROR_UNSUPPORTED, "reduced space");
  CHECK(none == NULL);
  REFUSED(nt_formulation_tables(NULL, &tables), NT_ERROR_ARGUMENT, "formulation is NULL");
  REFUSED(nt_formulation_tables(formulation, NULL), NT_ERROR_ARGUMENT, "out is NULL");
  REFUSED(nt_formulation_text(NULL, &text), NT_ERROR_ARGUMENT, "formulation is NULL");
  REFUSED(nt_formulation_text(formulation, NULL), NT_ERROR_ARGUMENT, "out is NULL");
  REFUSED(nt_formulation_evaluate(NULL, reading(X, N), writing(values, 1)), NT_ERROR_ARGUMENT, "formulation is NULL");
  REFUSED(nt_formulation_evaluate(formulation, reading(X, N), writing(values, 1)), NT_ERROR_ARGUMENT, "length 1");
  REFUSED(nt_formulation_evaluate(formulation, reading(X, N), writing(NULL, 1)), NT_ERROR_ARGUMENT, "values is NULL");
  OK(nt_formulation_destroy(NULL));
  OK(nt_formulation_destroy(formulation));
  OK(nt_model_destroy(model));
}

/* Files go beside the program. */
static void files(const char *models, const char *program) {
  NtModel *model = opened(models, "nets/mlp_relu.pt");
  NtFormulation *formulation = create(model, NULL), *smooth = NULL;
  static const char *const ends[] = {".mps", ".lp", ".nl", ".mof.json", ".col"};
  char path[4096], line[256];
  size_t i;
  FILE *file;
  for (i = 0; i < 5; i++) {
    snprintf(path, sizeof path, "%s%s", program, ends[i]);
    if (i < 4) OK(nt_formulation_write(formulation, path, "maximize y[0] - 2 * x[1] + 1"));
    file = fopen(path, "r");
    CHECK(file != NULL && fgets(line, sizeof line, file) != NULL);
    if (i == 1) CHECK(strcmp(line, "Maximize\n") == 0);
    fclose(file);
  }
  snprintf(path, sizeof path, "%s.lp", program);
  OK(nt_formulation_write(formulation, path, NULL));
  file = fopen(path, "r");
  CHECK(file != NULL && fgets(line, sizeof line, file) != NULL && strcmp(line, "Minimize\n") == 0);
  fclose(file);
  REFUSED(nt_formulation_write(NULL, path, NULL), NT_ERROR_ARGUMENT, "formulation is NULL");
  REFUSED(nt_formulation_write(formulation, NULL, NULL), NT_ERROR_ARGUMENT, "path is NULL");
  REFUSED(nt_formulation_write(formulation, "model.txt", NULL), NT_ERROR_ARGUMENT, ".mof.json");
  REFUSED(nt_formulation_write(formulation, path, "y[0]"), NT_ERROR_ARGUMENT, "minimize");
  REFUSED(nt_formulation_write(formulation, path, "minimize y[99]"), NT_ERROR_ARGUMENT, "y[99]");
  REFUSED(nt_formulation_write(formulation, "/no/such/folder/model.lp", NULL), NT_ERROR_IO, "/no/such/folder");
  OK(nt_formulation_create(model, own_shape(), reading(LOWER, N), reading(UPPER, N), reading(NULL, 0), "space=reduced", &smooth));
  REFUSED(nt_formulation_write(smooth, path, NULL), NT_ERROR_UNSUPPORTED, "space=full");
  OK(nt_formulation_destroy(smooth));
  OK(nt_formulation_destroy(formulation));
  OK(nt_model_destroy(model));
}

int main(int argc, char **argv) {
  CHECK(argc == 2);
  relu(argv[1]);
  smooth(argv[1]);
  files(argv[1], argv[0]);
  wrong_arguments(argv[1]);
  return 0;
}
