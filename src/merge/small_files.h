#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "checkpoint/hf_folder.h"

namespace fusegrid {

// What lies beside a model's weights and goes with it.
struct SmallFiles {
  std::map<std::string, std::filesystem::path>
      files;                                // name in the result, "1_Pooling/config.json", and where it is
  std::map<std::string, std::string> made;  // name and content, in place of a file
  std::vector<std::string> left_out;        // "pytorch_model.bin (weights)", for the user
};

// Of the folder of a reference: configuration, tokenizer, templates, code, licence, in folders below too. Not what a
// merge writes itself (config.json, weights and their index, the manifest), nor README.md, nor what a trainer or a tool
// left. Left out and named: weights under other names, folders that hold some (other models, other formats), what is
// larger than 256 MiB or no file. Folders that modules.json names go along with their weights.
//   except  folders that are not entered: the merge's own, where it writes into the reference's
//   Throws  ConfigError where a link leads out of the folder and that is not allowed
SmallFiles small_files_of(const std::filesystem::path& folder, HfFolderOptions options,
                          const std::set<std::filesystem::path>& except);

}  // namespace fusegrid
