#include <algorithm>
#include <limits>
#include <numeric>

#include "comm/collectives.h"
#include "comm/mpi_check.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr int kGroupTag = 8;
constexpr int64_t kPieceBytes = int64_t{1} << 30;  // counts of MPI 3 are int

// Calls body(offset, count) over pieces of at most `most` elements.
template <typename Body>
void in_pieces(int64_t elements, int64_t most, const Body& body) {
  for (int64_t begin = 0; begin < elements; begin += most) {
    body(begin, static_cast<int>(std::min(most, elements - begin)));
  }
}

class MpiCollectives : public Collectives {
 public:
  explicit MpiCollectives(int first_rank) {
    int size = 0;
    check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
    std::vector<int> ranks(std::max(0, size - first_rank));
    std::iota(ranks.begin(), ranks.end(), first_rank);
    MPI_Group world = MPI_GROUP_NULL, group = MPI_GROUP_NULL;
    check_mpi(MPI_Comm_group(MPI_COMM_WORLD, &world), "MPI_Comm_group");
    check_mpi(MPI_Group_incl(world, static_cast<int>(ranks.size()), ranks.data(), &group), "MPI_Group_incl");
    check_mpi(MPI_Comm_create_group(MPI_COMM_WORLD, group, kGroupTag, &comm_), "MPI_Comm_create_group");
    check_mpi(MPI_Group_free(&group), "MPI_Group_free");
    check_mpi(MPI_Group_free(&world), "MPI_Group_free");
    FUSEGRID_ASSERT(comm_ != MPI_COMM_NULL, "a rank below first_rank " + std::to_string(first_rank));
    check_mpi(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
    check_mpi(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
  }
  ~MpiCollectives() override { check_mpi(MPI_Comm_free(&comm_), "MPI_Comm_free"); }
  MpiCollectives(const MpiCollectives&) = delete;
  MpiCollectives& operator=(const MpiCollectives&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string name() const override { return "mpi"; }
  void barrier() override { check_mpi(MPI_Barrier(comm_), "MPI_Barrier"); }

  void all_reduce_sum(std::span<int64_t> values) override {
    reduce(values.data(), static_cast<int64_t>(values.size()), sizeof(int64_t), MPI_INT64_T);
  }

  std::vector<std::vector<double>> all_gather(std::span<const double> mine) override {
    const int count = static_cast<int>(mine.size());
    std::vector<int> counts(size_), offsets(size_);
    check_mpi(MPI_Allgather(&count, 1, MPI_INT, counts.data(), 1, MPI_INT, comm_), "MPI_Allgather");
    const int64_t total = std::accumulate(counts.begin(), counts.end(), int64_t{0});
    FUSEGRID_ASSERT(total <= std::numeric_limits<int>::max(), std::to_string(total) + " numbers gathered");
    std::exclusive_scan(counts.begin(), counts.end(), offsets.begin(), 0);
    std::vector<double> flat(total);
    check_mpi(MPI_Allgatherv(mine.data(), count, MPI_DOUBLE, flat.data(), counts.data(), offsets.data(),
                             MPI_DOUBLE, comm_),
              "MPI_Allgatherv");
    std::vector<std::vector<double>> all;
    for (int rank = 0; rank < size_; ++rank) {
      all.emplace_back(flat.begin() + offsets[rank], flat.begin() + offsets[rank] + counts[rank]);
    }
    return all;
  }

  void all_reduce_sum(at::Tensor& tensor) override {
    FUSEGRID_ASSERT(tensor.is_contiguous() && tensor.is_cpu(), "the tensor must be contiguous, on the CPU");
    if (tensor.scalar_type() == at::kHalf || tensor.scalar_type() == at::kBFloat16) {
      at::Tensor wide = tensor.to(at::kFloat);  // MPI knows no 16-bit floats
      all_reduce_sum(wide);
      tensor.copy_(wide);
      return;
    }
    reduce(tensor.data_ptr(), tensor.numel(), tensor.element_size(), mpi_type(tensor.scalar_type()));
  }

  void broadcast(at::Tensor& tensor, int root) override {
    FUSEGRID_ASSERT(tensor.is_contiguous() && tensor.is_cpu(), "the tensor must be contiguous, on the CPU");
    auto* bytes = static_cast<char*>(tensor.data_ptr());
    in_pieces(static_cast<int64_t>(tensor.nbytes()), kPieceBytes, [&](int64_t begin, int count) {
      check_mpi(MPI_Bcast(bytes + begin, count, MPI_BYTE, root, comm_), "MPI_Bcast");
    });
  }

 private:
  static MPI_Datatype mpi_type(at::ScalarType type) {
    switch (type) {
      case at::kFloat:
        return MPI_FLOAT;
      case at::kDouble:
        return MPI_DOUBLE;
      case at::kLong:
        return MPI_INT64_T;
      case at::kInt:
        return MPI_INT32_T;
      default:
        FUSEGRID_ASSERT(false, std::string("no sums over ranks of ") + at::toString(type));
    }
  }

  void reduce(void* data, int64_t elements, int64_t element_bytes, MPI_Datatype type) {
    auto* bytes = static_cast<char*>(data);
    in_pieces(elements, kPieceBytes / element_bytes, [&](int64_t begin, int count) {
      check_mpi(MPI_Allreduce(MPI_IN_PLACE, bytes + begin * element_bytes, count, type, MPI_SUM, comm_),
                "MPI_Allreduce");
    });
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1;
};

}  // namespace

std::unique_ptr<Collectives> mpi_collectives(int first_rank) {
  return std::make_unique<MpiCollectives>(first_rank);
}

}  // namespace fusegrid
