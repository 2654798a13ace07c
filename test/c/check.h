/* What the test programs share: checks that end the program with the place and the library's message. Every program takes
 * the folder `test/models` as its argument, and compiles as C11 and as C++17. */
#ifndef CHECK_H
#define CHECK_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "native_torch.h"

#define CHECK(condition)                                                                     \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, nt_last_error());  \
      exit(1);                                                                               \
    }                                                                                        \
  } while (0)

#define OK(call) CHECK((call) == NT_OK)

/* The call is refused with this status, and the message has this word. */
#define REFUSED(call, status, word)                     \
  do {                                                  \
    CHECK((call) == (status));                          \
    CHECK(strstr(nt_last_error(), (word)) != NULL);     \
  } while (0)

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static inline NtSlice reading(const double *data, size_t len) {
  NtSlice slice = {data, len};
  return slice;
}

static inline NtSliceMut writing(double *data, size_t len) {
  NtSliceMut slice = {data, len};
  return slice;
}

static inline NtShape sizes(const size_t *data, size_t len) {
  NtShape shape = {data, len};
  return shape;
}

/* The shape that the model itself asks for. */
static inline NtShape own_shape(void) { return sizes(NULL, 0); }

static inline const char *string(NtStrings strings, size_t i) { return strings.text + strings.offsets[i]; }

static inline NtModel *opened(const char *models, const char *name) {
  char path[4096];
  NtModel *model = NULL;
  snprintf(path, sizeof path, "%s/%s", models, name);
  OK(nt_model_open(path, &model));
  CHECK(model != NULL);
  return model;
}

static inline NtFunction *compiled(const char *models, const char *name) {
  NtModel *model = opened(models, name);
  NtFunction *function = NULL;
  OK(nt_function_compile(model, own_shape(), NT_FLOAT64, &function));
  CHECK(function != NULL);
  /* A function does not need its model any more. */
  OK(nt_model_destroy(model));
  return function;
}

static inline int near(double a, double b) { return fabs(a - b) <= 1e-9 * (1.0 + fabs(b)); }

#endif
