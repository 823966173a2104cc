#include "support/reader_main.h"

int main(int argc, char** argv) {
  return fusegrid::test_main_with_readers(argc, argv);
}
