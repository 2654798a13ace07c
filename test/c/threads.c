/* One function in several threads, each with a workspace of its own and messages of its own; one workspace in several
 * threads, which is an error and not a race. */
#include <pthread.h>

#include "check.h"

enum { N = 10, ROUNDS = 2000, THREADS = 4 };

typedef struct Task {
  const NtFunction *function;
  const NtWorkspace *workspace; /* NULL: make one */
  double x[N], gradient[N];
  int done, refused;
} Task;

static void *work(void *argument) {
  Task *task = (Task *)argument;
  const double one = 1.0;
  NtWorkspace *own = NULL;
  int i, j;
  CHECK(strcmp(nt_last_error(), "") == 0);
  if (task->workspace == NULL) OK(nt_workspace_create(task->function, &own));
  for (i = 0; i < ROUNDS; i++) {
    const NtWorkspace *workspace = own ? own : task->workspace;
    double gradient[N];
    NtStatus status =
        nt_function_vjp(task->function, workspace, reading(task->x, N), reading(&one, 1), writing(gradient, N));
    if (status == NT_OK) {
      for (j = 0; j < N; j++) CHECK(gradient[j] == task->gradient[j]);
      task->done++;
    } else {
      CHECK(status == NT_ERROR_ARGUMENT && strstr(nt_last_error(), "in use") != NULL);
      task->refused++;
    }
    if (i == ROUNDS / 2) {
      REFUSED(nt_check_panic(), NT_ERROR_INTERNAL, "asked for");
    }
  }
  OK(nt_workspace_destroy(own));
  return NULL;
}

static void run(Task *tasks) {
  pthread_t threads[THREADS];
  int t;
  for (t = 0; t < THREADS; t++) CHECK(pthread_create(&threads[t], NULL, work, &tasks[t]) == 0);
  for (t = 0; t < THREADS; t++) CHECK(pthread_join(threads[t], NULL) == 0);
}

int main(int argc, char **argv) {
  static Task tasks[THREADS];
  NtFunction *function;
  NtWorkspace *workspace = NULL;
  const double one = 1.0;
  int t, i, done = 0;
  CHECK(argc == 2);
  function = compiled(argv[1], "nets/mlp_tanh.pt");
  OK(nt_workspace_create(function, &workspace));
  for (t = 0; t < THREADS; t++) {
    for (i = 0; i < N; i++) tasks[t].x[i] = 0.1 * (i - t);
    tasks[t].function = function;
    OK(nt_function_vjp(function, workspace, reading(tasks[t].x, N), reading(&one, 1), writing(tasks[t].gradient, N)));
  }
  run(tasks);
  for (t = 0; t < THREADS; t++) CHECK(tasks[t].done == ROUNDS && tasks[t].refused == 0);

  for (t = 0; t < THREADS; t++) {
    tasks[t].workspace = workspace;
    tasks[t].done = 0;
  }
  run(tasks);
  for (t = 0; t < THREADS; t++) {
    CHECK(tasks[t].done + tasks[t].refused == ROUNDS);
    done += tasks[t].done;
  }
  CHECK(done > 0);
  CHECK(strcmp(nt_last_error(), "") == 0);
  OK(nt_workspace_destroy(workspace));
  OK(nt_function_destroy(function));
  return 0;
}
