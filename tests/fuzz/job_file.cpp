#include "coordinator/job_file.h"

#include "coordinator/fake_methods.h"
#include "fuzz/target.h"

namespace fusegrid::fuzz::job_file {
namespace {

void read(std::string_view text) {
  register_fake_methods();
  static_cast<void>(parse_job(std::string(text), "fuzz.cfg"));
}

std::vector<std::string> seeds() {
  return {
      "# A question.\nzoo = embedded-small\nexperts = 2..8\nseed = 0..2\ntask = all\nshift = clean fog@3\n\n"
      "[fake_average]\n[fake_trim]\ndensity = 0.2\nscale = 0.2 0.3 0.4\n[fake_trim:mean]\nmerge = mean\n",
      "zoo = a b\nexperts = all 3 mnist+fashion\ndevice = cpu\nthreads = 2\nbatch = 64\nshards = "
      "2\nmax-attempts = 3\n"
      "stall-timeout = 20\nmemory-limit = 1.5\n[fake_trim]\nscale = 0.1\nscale = "
      "0.2\n[fake_trim:b]\ndensity = 0.5\n",
      "zoo = a\n[fake_trim]\n[task:gsm8k]\ncommand = sh {request}\nmetric = m\nbetter = lower\nlimit = 5\n",
      "zoo = a\n[external:mine]\ncommand = sh -c 'cp \"$1\" # x' \"a \\\" b\" {request} # why\ntimeout_s = "
      "60\n"
      "[folder:theirs]\npath = \"of theirs/{seed}-{experts}\"\n"};
}

const RegisterTarget registered{"job_file",
                                {read, seeds, {"zoo = ",     "experts = ", "seed = 0..99999999999",
                                               "[fake_trim", "[",          "]",
                                               ":",          "+",          "shift = ",
                                               "@5",         "density = ", "1..8",
                                               "\r\n",       " # ",        "#",
                                               "'",          "\"",         "\\",
                                               "[external:", "[task:",     "metric = ",
                                               "[folder:",   "command = ", "{request}",
                                               "path = "}}};

}  // namespace
}  // namespace fusegrid::fuzz::job_file
