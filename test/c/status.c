/* Versions, messages, and a panic that is caught and prints nothing. */
#include "check.h"

int main(int argc, char **argv) {
  NtModel *model = NULL;
  (void)argc;
  (void)argv;
  CHECK(nt_abi_version() == NT_ABI_VERSION);
  CHECK(strlen(nt_version()) >= strlen("0.0.0"));
  CHECK(strcmp(nt_last_error(), "") == 0);

  REFUSED(nt_check_panic(), NT_ERROR_INTERNAL, "defect");
  REFUSED(nt_check_panic(), NT_ERROR_INTERNAL, "this panic was asked for");

  REFUSED(nt_model_open("/there/is/no such file.pt", &model), NT_ERROR_IO, "/there/is/no such file.pt");
  CHECK(model == NULL);
  /* A message stays until another call fails. */
  OK(nt_model_destroy(NULL));
  CHECK(strstr(nt_last_error(), "no such file.pt") != NULL);
  REFUSED(nt_model_open(NULL, &model), NT_ERROR_ARGUMENT, "path is NULL");
  CHECK(strstr(nt_last_error(), "no such file.pt") == NULL);
  return 0;
}
