#include "merge/piece_digests.h"

#include <algorithm>
#include <cstring>
#include <sstream>

#include "comm/agreement.h"
#include "core/digest.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

int64_t num_pieces(const TensorInfo& info) {
  return (info.numel() + kDigestElements - 1) / kDigestElements;
}

std::array<unsigned char, 32> from_hex(const std::string& hex) {
  std::array<unsigned char, 32> bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<unsigned char>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  }
  return bytes;
}

std::array<unsigned char, 32> sha256(const void* data, size_t size) {
  Sha256 hash;
  hash.update(data, size);
  return from_hex(hash.hex());
}

std::string hex_of(const std::array<unsigned char, 32>& bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : bytes) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

}  // namespace

std::string PieceDigests::combined(const std::vector<Digest>& digests) {
  Sha256 hash;
  for (const Digest& digest : digests) {
    hash.update(digest.data(), digest.size());
  }
  return hash.hex();
}

void PieceDigests::add(size_t model, const TensorInfo& info, int64_t begin, int64_t count,
                       const void* bytes) {
  FUSEGRID_ASSERT(begin % kDigestElements == 0, "a piece that begins at " + std::to_string(begin));
  const auto width = static_cast<int64_t>(c10::elementSize(info.dtype));
  std::vector<Digest> digests;
  for (int64_t done = 0; done < count; done += kDigestElements) {
    digests.push_back(sha256(static_cast<const char*>(bytes) + done * width,
                             static_cast<size_t>(std::min(kDigestElements, count - done) * width)));
  }
  const std::scoped_lock lock(mutex_);
  Pieces& pieces = pieces_[{model, info.name}];
  pieces.digests.resize(num_pieces(info));
  pieces.present.resize(num_pieces(info));
  for (size_t i = 0; i < digests.size(); ++i) {
    pieces.digests[begin / kDigestElements + i] = digests[i];
    pieces.present[begin / kDigestElements + i] = true;
  }
}

// One line per whole tensor, or per piece of one that ranks share: model, pieces, piece (-1: whole), digest, name.
std::string PieceDigests::lines_of(size_t model, const std::string& name, const Pieces& pieces) {
  std::ostringstream text;
  const auto line = [&](int64_t piece, const std::string& digest) {
    text << model << ' ' << pieces.present.size() << ' ' << piece << ' ' << digest << ' ' << name << '\n';
  };
  if (std::find(pieces.present.begin(), pieces.present.end(), false) == pieces.present.end()) {
    line(-1, combined(pieces.digests));
    return text.str();
  }
  for (size_t i = 0; i < pieces.digests.size(); ++i) {
    if (pieces.present[i]) {
      line(static_cast<int64_t>(i), hex_of(pieces.digests[i]));
    }
  }
  return text.str();
}

std::map<size_t, std::map<std::string, std::string>> PieceDigests::collect(
    Collectives& group, const std::set<std::string>& tensors) {
  std::string mine;
  std::erase_if(pieces_, [&](const auto& entry) {
    const auto& [model, name] = entry.first;
    if (tensors.contains(name)) {
      mine += lines_of(model, name, entry.second);
    }
    return tensors.contains(name);
  });
  std::map<size_t, std::map<std::string, std::string>> all;
  std::map<std::pair<size_t, std::string>, std::map<int64_t, Digest>> shared;
  for (const std::string& text : all_gather_bytes(group, mine)) {
    std::istringstream lines(group.rank() == 0 ? text : "");
    size_t model = 0, count = 0;
    int64_t piece = 0;
    std::string digest, name;
    while (lines >> model >> count >> piece >> digest && lines.get() && std::getline(lines, name)) {
      if (piece < 0) {
        all[model][name] = digest;
        continue;
      }
      auto& parts = shared[{model, name}];
      parts[piece] = from_hex(digest);
      if (parts.size() == count) {
        std::vector<Digest> ordered;
        std::transform(parts.begin(), parts.end(), std::back_inserter(ordered),
                       [](const auto& p) { return p.second; });
        all[model][name] = combined(ordered);
        shared.erase({model, name});
      }
    }
  }
  FUSEGRID_ASSERT(shared.empty(), "pieces of tensor " + shared.begin()->first.second + " are missing");
  return all;
}

std::string piecewise_digest(const ModelSource& source, const TensorInfo& info) {
  Sha256 all;
  std::vector<char> bytes(kDigestElements * c10::elementSize(info.dtype));
  for (int64_t begin = 0; begin < info.numel(); begin += kDigestElements) {
    const int64_t count = std::min(kDigestElements, info.numel() - begin);
    source.read_range(info.name, begin, count, bytes.data());
    const auto digest = sha256(bytes.data(), static_cast<size_t>(count) * c10::elementSize(info.dtype));
    all.update(digest.data(), digest.size());
  }
  return all.hex();
}

}  // namespace fusegrid
