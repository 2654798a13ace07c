/* Files: their modules, tensors and attributes, and what is refused. */
#include "check.h"

static void modules(const char *models) {
  NtModel *model = opened(models, "nets/cnn.pt");
  NtModules table;
  NtSizes shape;
  OK(nt_model_modules(model, &table));
  CHECK(table.count == 7);
  CHECK(table.kinds[0] == NT_MODULE_SEQUENTIAL);
  CHECK(strcmp(string(table.paths, 0), "") == 0);
  CHECK(table.kinds[1] == NT_MODULE_STANDARD);
  CHECK(strcmp(string(table.paths, 1), "0") == 0);
  CHECK(strcmp(string(table.classes, 1), "torch.nn.modules.conv.Conv2d") == 0);
  CHECK(strstr(string(table.descriptions, 1), "Conv2d(in_channels=1, out_channels=3") != NULL);
  CHECK(strcmp(string(table.reasons, 1), "") == 0);
  CHECK(table.parameters[1] == 30);
  CHECK(strcmp(string(table.descriptions, 6), "Softmax(dim=1)") == 0);
  OK(nt_model_input_shape(model, &shape));
  CHECK(shape.rank == 4);
  CHECK(shape.sizes[0] == NT_ANY_SIZE && shape.sizes[1] == 1 && shape.sizes[2] == NT_ANY_SIZE);
  OK(nt_model_verify(model));
  OK(nt_model_destroy(model));
}

static void tensors(const char *models) {
  NtModel *model = opened(models, "nets/cnn.pt");
  NtTensors table;
  double values[27];
  size_t i;
  OK(nt_model_tensors(model, &table));
  CHECK(table.count == 4);
  CHECK(strcmp(string(table.names, 0), "0.weight") == 0);
  CHECK(strcmp(string(table.names, 3), "4.bias") == 0);
  CHECK(strcmp(string(table.dtypes, 0), "float32") == 0);
  CHECK(table.is_parameter[0] == 1);
  CHECK(table.shape_starts[1] - table.shape_starts[0] == 4);
  CHECK(table.sizes[0] == 3 && table.sizes[1] == 1 && table.sizes[2] == 3 && table.sizes[3] == 3);
  for (i = 0; i < LENGTH(values); i++) values[i] = NAN;
  OK(nt_model_tensor_values(model, 0, writing(values, LENGTH(values))));
  for (i = 0; i < LENGTH(values); i++) CHECK((double)(float)values[i] == values[i]);
  REFUSED(nt_model_tensor_values(model, 0, writing(values, 26)), NT_ERROR_ARGUMENT, "26");
  REFUSED(nt_model_tensor_values(model, 0, writing(NULL, 27)), NT_ERROR_ARGUMENT, "values is NULL");
  REFUSED(nt_model_tensor_values(model, 4, writing(values, 27)), NT_ERROR_ARGUMENT, "tensor 4 of 4");
  OK(nt_model_destroy(model));
}

static void custom_layers(const char *models) {
  NtModel *model = opened(models, "refused/custom_with_buffers.pt");
  NtModel *layer = NULL;
  NtModules modules;
  NtTensors tensors;
  NtAttributes attributes;
  NtFunction *function = NULL;
  double scale[3];
  OK(nt_model_modules(model, &modules));
  CHECK(modules.kinds[1] == NT_MODULE_CUSTOM);
  CHECK(strlen(string(modules.reasons, 1)) > 0);
  REFUSED(nt_function_compile(model, own_shape(), NT_FLOAT64, &function), NT_ERROR_UNSUPPORTED, "layer `0` (custom_model.");
  CHECK(function == NULL);

  REFUSED(nt_model_submodule(model, "7", &layer), NT_ERROR_ARGUMENT, "`7`");
  CHECK(layer == NULL);
  OK(nt_model_submodule(model, "0", &layer));
  /* A part may outlive its model. */
  OK(nt_model_destroy(model));
  OK(nt_model_modules(layer, &modules));
  CHECK(modules.count >= 1 && strcmp(string(modules.paths, 0), "0") == 0);
  OK(nt_model_tensors(layer, &tensors));
  CHECK(tensors.count == 3);
  CHECK(strcmp(string(tensors.names, 0), "scale") == 0 && tensors.is_parameter[0] == 1);
  CHECK(strcmp(string(tensors.names, 1), "mean") == 0 && tensors.is_parameter[1] == 0);
  OK(nt_model_tensor_values(layer, 0, writing(scale, 3)));
  OK(nt_model_attributes(layer, &attributes));
  OK(nt_model_destroy(layer));
}

static void attributes(const char *models) {
  NtModel *model = opened(models, "refused/custom_skip.pt");
  NtModel *layer = NULL;
  NtModules modules;
  NtAttributes table;
  size_t i, custom = 0;
  OK(nt_model_modules(model, &modules));
  while (modules.kinds[custom] != NT_MODULE_CUSTOM) CHECK(++custom < modules.count);
  OK(nt_model_submodule(model, string(modules.paths, custom), &layer));
  OK(nt_model_attributes(layer, &table));
  for (i = 0; i < table.count; i++) {
    const char *kind = string(table.kinds, i);
    CHECK(strlen(string(table.names, i)) > 0 && strlen(kind) > 0);
    /* Numbers are numbers, and other things are not. */
    CHECK((strcmp(kind, "int") == 0 || strcmp(kind, "float") == 0 || strcmp(kind, "bool") == 0) ==
          (table.numbers[i] == table.numbers[i]));
  }
  OK(nt_model_destroy(layer));
  OK(nt_model_destroy(model));
}

static void one_layer_alone(const char *models) {
  NtModel *model = opened(models, "nets/mlp_sigmoid.pt");
  NtModel *layer = NULL;
  NtFunction *function = NULL;
  NtSignature signature;
  OK(nt_model_submodule(model, "0", &layer));
  OK(nt_function_compile(layer, own_shape(), NT_FLOAT64, &function));
  OK(nt_function_signature(function, &signature));
  CHECK(signature.n == 4);
  OK(nt_function_destroy(function));
  OK(nt_model_destroy(layer));
  OK(nt_model_destroy(model));
}

static void refusals(const char *models) {
  NtModel *model = NULL;
  char path[4096];
  const struct {
    const char *file, *word;
    NtStatus status;
  } files[] = {
      {"refused/state_dict.pt", "state_dict", NT_ERROR_UNSUPPORTED},
      {"refused/tensor.pt", "a tensor", NT_ERROR_UNSUPPORTED},
      {"index.json", "zip", NT_ERROR_FORMAT},
      {"nets", "nets", NT_ERROR_IO},
  };
  size_t i;
  for (i = 0; i < LENGTH(files); i++) {
    model = (NtModel *)&model;
    snprintf(path, sizeof path, "%s/%s", models, files[i].file);
    REFUSED(nt_model_open(path, &model), files[i].status, files[i].word);
    CHECK(model == NULL);
  }
}

static void nulls(const char *models) {
  NtModel *model = opened(models, "nets/cnn.pt");
  NtModel *part = NULL;
  NtModules modules;
  NtTensors tensors;
  NtAttributes attributes;
  NtSizes shape;
  double value;
  REFUSED(nt_model_open(NULL, &part), NT_ERROR_ARGUMENT, "path is NULL");
  REFUSED(nt_model_open("x", NULL), NT_ERROR_ARGUMENT, "out is NULL");
  REFUSED(nt_model_submodule(NULL, "0", &part), NT_ERROR_ARGUMENT, "model is NULL");
  REFUSED(nt_model_submodule(model, NULL, &part), NT_ERROR_ARGUMENT, "path is NULL");
  REFUSED(nt_model_submodule(model, "0", NULL), NT_ERROR_ARGUMENT, "out is NULL");
  REFUSED(nt_model_submodule(model, "\xff", &part), NT_ERROR_ARGUMENT, "UTF-8");
  REFUSED(nt_model_modules(NULL, &modules), NT_ERROR_ARGUMENT, "model is NULL");
  REFUSED(nt_model_modules(model, NULL), NT_ERROR_ARGUMENT, "out is NULL");
  REFUSED(nt_model_tensors(NULL, &tensors), NT_ERROR_ARGUMENT, "model is NULL");
  REFUSED(nt_model_tensors(model, NULL), NT_ERROR_ARGUMENT, "out is NULL");
  REFUSED(nt_model_attributes(NULL, &attributes), NT_ERROR_ARGUMENT, "model is NULL");
  REFUSED(nt_model_attributes(model, NULL), NT_ERROR_ARGUMENT, "out is NULL");
  REFUSED(nt_model_input_shape(NULL, &shape), NT_ERROR_ARGUMENT, "model is NULL");
  REFUSED(nt_model_input_shape(model, NULL), NT_ERROR_ARGUMENT, "out is NULL");
  REFUSED(nt_model_tensor_values(NULL, 0, writing(&value, 1)), NT_ERROR_ARGUMENT, "model is NULL");
  REFUSED(nt_model_verify(NULL), NT_ERROR_ARGUMENT, "model is NULL");
  OK(nt_model_destroy(NULL));
  OK(nt_model_destroy(model));
}

int main(int argc, char **argv) {
  CHECK(argc == 2);
  modules(argv[1]);
  tensors(argv[1]);
  custom_layers(argv[1]);
  attributes(argv[1]);
  one_layer_alone(argv[1]);
  refusals(argv[1]);
  nulls(argv[1]);
  return 0;
}
