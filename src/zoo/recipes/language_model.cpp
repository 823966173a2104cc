// Language models of the layout of Llama on domains of text (docs/design/text_zoo.md).
//
// Base:    each token of a text is predicted from those in front of it; the texts are of all domains.
// Experts: the same on one domain, all parameters; the multi-task model on all domains in equal shares. Models make
//          their tokens themselves, so that there are no heads.
// Source:  Touvron et al., arXiv:2302.13971 (layout); Ainslie et al., arXiv:2305.13245 (grouped heads); Gururangan et
//          al., arXiv:2108.05036 (experts by domain).

#include "core/errors.h"
#include "zoo/fine_tuning.h"
#include "zoo/next_token.h"
#include "zoo/recipe.h"
#include "zoo/token_batches.h"
#include "zoo/zoo.h"

namespace fusegrid::recipes::language_model {
namespace {

struct Options : NextToken, Tuning {
  // architecture
  int64_t heads_of_a_key = 2;
  int64_t mlp_ratio = 3;

  static Options of_scale(const std::string&) { return {}; }

  template <typename Visitor>
  void describe_base(Visitor& v) {
    describe_blocks(v);
    v.param("heads_of_a_key", heads_of_a_key, Range{1, 64}, "heads that share their keys and values");
    v.param("mlp_ratio", mlp_ratio, Range{1, 16}, "channels of the gated MLP in units of width");
    describe_pretraining(v);
  }
  void check() const {
    if (width % (head_width * heads_of_a_key) != 0) {
      throw ConfigError(
          "recipe language_model: head_width * heads_of_a_key must divide width, but they are " +
          std::to_string(head_width) + ", " + std::to_string(heads_of_a_key) + " and " +
          std::to_string(width));
    }
    if (head_width % 2 != 0) {
      throw ConfigError(
          "recipe language_model: head_width must be even, for rotations turn pairs, but it is " +
          std::to_string(head_width));
    }
  }
};

nlohmann::json architecture_config(const Options& options, const TokenTable& table) {
  const int64_t heads = options.width / options.head_width;
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_size", options.width},
          {"intermediate_size", options.mlp_ratio * options.width},
          {"num_hidden_layers", options.blocks},
          {"num_attention_heads", heads},
          {"num_key_value_heads", heads / options.heads_of_a_key},
          {"max_position_embeddings", options.positions},
          {"vocab_size", table.size()},
          {"pad_token_id", table.pad},
          {"bos_token_id", nullptr},
          {"eos_token_id", nullptr},
          {"hidden_act", "silu"},
          {"rms_norm_eps", 1e-6},
          {"rope_theta", 10000.0},
          {"tie_word_embeddings", true},
          {"torch_dtype", "float32"}};
}

void check_pack(const Options&, const TaskPack& pack, const std::vector<std::string>& tasks) {
  for (const std::string& task : tasks) {
    if (pack.task(task).kind != "language_model") {
      throw ConfigError("the recipe language_model trains on texts alone, but task '" + task + "' of '" +
                        pack.path().string() + "' is of the kind " + pack.task(task).kind +
                        "; choose another pack or another recipe");
    }
  }
}

MadeBase make_base(const Options& options, const BaseInput& in) {
  const nlohmann::json config = architecture_config(options, *in.pool->tokens());
  return pretrain_next_token(options, config, config, in);
}

MadeModel make_model(const Options& options, const ModelInput& in) {
  return fine_tune(options, names_of(in.base), in);
}

double seconds(const Options& options, ZooItem::Kind kind, int64_t tasks) {
  return next_token_seconds(options, options, kind, tasks, 200);  // measured
}

const RegisterRecipe<Options> registered{
    {.name = "language_model",
     .doc = "language models of the layout of Llama, each expert of one domain of text",
     .scales = {{"small", "128 wide, 4 blocks: minutes on a CPU", "language_model6"}},
     .pooling = Pooling::kNone,
     .heads = Heads::kTokens,
     .pool = "text_pool.h5",
     .pool_maker = "tools/make_text_pool.py"},
    {reads_next_token, check_pack, check_next_token_pool, make_base, make_model, seconds}};

}  // namespace
}  // namespace fusegrid::recipes::language_model
