#include "cli/program.h"

int main(int argc, char** argv) {
  return fusegrid::program(argc, argv);
}
