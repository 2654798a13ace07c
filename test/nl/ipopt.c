/* Solves an `.nl` file: AMPL's library reads and evaluates it, and Ipopt's C interface solves it. Both are Debian's packages,
   libamplsolver-dev and coinor-libipopt-dev. Prints Ipopt's status, the objective, and a variable per line, in the file's
   order. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <IpStdCInterface.h>

#include "asl_pfgh.h"

static ASL *asl;

static int refuse(const char *what) {
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static void *memory(size_t count, size_t size) {
  void *found = calloc(count + 1, size);
  if (found == NULL) refuse("no memory");
  return found;
}

static double sign(void) { return objtype[0] ? -1.0 : 1.0; }

static Bool eval_f(Index n, Number *x, Bool new_x, Number *value, UserDataPtr data) {
  fint error = 0;
  *value = sign() * objval(0, x, &error);
  return error == 0;
}

static Bool eval_grad_f(Index n, Number *x, Bool new_x, Number *gradient, UserDataPtr data) {
  fint error = 0;
  objgrd(0, x, gradient, &error);
  for (Index i = 0; i < n; i++) gradient[i] *= sign();
  return error == 0;
}

static Bool eval_g(Index n, Number *x, Bool new_x, Index m, Number *g, UserDataPtr data) {
  fint error = 0;
  conval(x, g, &error);
  return error == 0;
}

static Bool eval_jac_g(Index n, Number *x, Bool new_x, Index m, Index count, Index *rows, Index *columns, Number *values,
                       UserDataPtr data) {
  fint error = 0;
  if (values != NULL) {
    jacval(x, values, &error);
    return error == 0;
  }
  for (Index i = 0; i < m; i++)
    for (cgrad *entry = Cgrad[i]; entry != NULL; entry = entry->next) {
      rows[entry->goff] = i;
      columns[entry->goff] = entry->varno;
    }
  return TRUE;
}

static Bool eval_h(Index n, Number *x, Bool new_x, Number factor, Index m, Number *multipliers, Bool new_multipliers,
                   Index count, Index *rows, Index *columns, Number *values, UserDataPtr data) {
  if (values == NULL) {
    /* The upper triangle by columns is the lower one by rows. */
    for (Index j = 0; j < n; j++)
      for (int k = (int)sputinfo->hcolstarts[j]; k < (int)sputinfo->hcolstarts[j + 1]; k++) {
        rows[k] = j;
        columns[k] = (Index)sputinfo->hrownos[k];
      }
    return TRUE;
  }
  /* The library's second derivatives are at the point that was evaluated last. */
  fint error = 0;
  double weight = sign() * factor, *g = data;
  objval(0, x, &error);
  conval(x, g, &error);
  sphes(values, -1, &weight, multipliers);
  return error == 0;
}

int main(int count, char **arguments) {
  if (count != 2) refuse("usage: ipopt model.nl");
  asl = ASL_alloc(ASL_read_pfgh);
  return_nofile = 1;
  FILE *file = jac0dim(arguments[1], (fint)strlen(arguments[1]));
  if (file == NULL) refuse("the file cannot be read");
  if (n_obj != 1 || nbv + niv + nlvbi + nlvci + nlvoi > 0) refuse("one objective and continuous variables are expected");
  X0 = memory(n_var, sizeof(double));
  LUv = memory(n_var, sizeof(double));
  Uvx = memory(n_var, sizeof(double));
  LUrhs = memory(n_con, sizeof(double));
  Urhsx = memory(n_con, sizeof(double));
  if (pfgh_read(file, ASL_return_read_err) != ASL_readerr_none) refuse("the file is malformed");
  fint entries = sphsetup(-1, 1, n_con > 0, 1);
  IpoptProblem problem = CreateIpoptProblem(n_var, LUv, Uvx, n_con, LUrhs, Urhsx, nzc, (Index)entries, 0, eval_f, eval_g,
                                            eval_grad_f, eval_jac_g, eval_h);
  if (problem == NULL) refuse("Ipopt does not take the problem");
  AddIpoptIntOption(problem, "print_level", 0);
  AddIpoptStrOption(problem, "sb", "yes");
  AddIpoptNumOption(problem, "tol", 1e-9);
  double objective = 0.0;
  int status = IpoptSolve(problem, X0, NULL, &objective, NULL, NULL, NULL, memory(n_con, sizeof(double)));
  printf("status %d\nobjective %.17g\n", status, sign() * objective);
  for (int i = 0; i < n_var; i++) printf("%.17g\n", X0[i]);
  return 0;
}
