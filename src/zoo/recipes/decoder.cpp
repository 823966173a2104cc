// Decoders of the layout of GPT-2 on tasks of text, whose experts bring heads of their own (docs/design/text_zoo.md).
//
// Base:    each token of a text is predicted from those in front of it.
// Experts: as those of the recipe text, but heads read the last token, the only one that has seen the whole row.
// Source:  Radford et al., "Language Models are Unsupervised Multitask Learners", 2019 (layout); Radford et al.,
//          "Improving Language Understanding by Generative Pre-Training", 2018, section 3.2 (heads).

#include "core/errors.h"
#include "zoo/fine_tuning.h"
#include "zoo/next_token.h"
#include "zoo/recipe.h"
#include "zoo/token_batches.h"
#include "zoo/zoo.h"

namespace fusegrid::recipes::decoder {
namespace {

struct Options : NextToken, FineTuning {
  // architecture
  int64_t mlp_ratio = 4;

  static Options of_scale(const std::string& scale);

  template <typename Visitor>
  void describe_base(Visitor& v) {
    describe_blocks(v);
    v.param("mlp_ratio", mlp_ratio, Range{1, 16}, "channels of the MLP in units of width");
    describe_pretraining(v);
  }
  void check() const {
    if (width % head_width != 0) {
      throw ConfigError("recipe decoder: head_width must divide width, but they are " +
                        std::to_string(head_width) + " and " + std::to_string(width));
    }
  }
};

Options Options::of_scale(const std::string& scale) {
  Options options;
  if (scale == "medium") {
    options.width = 256;
    options.blocks = 6;
    options.expert_lr = 5e-4;
  }
  return options;
}

// of_base: without the head that guesses tokens, which pretraining alone needs; it is the table of tokens.
nlohmann::json architecture_config(const Options& options, const TokenTable& table, bool of_base) {
  return {{"architectures", {of_base ? "GPT2Model" : "GPT2LMHeadModel"}},
          {"model_type", "gpt2"},
          {"n_embd", options.width},
          {"n_inner", options.mlp_ratio * options.width},
          {"n_layer", options.blocks},
          {"n_head", options.width / options.head_width},
          {"n_positions", options.positions},
          {"vocab_size", table.size()},
          {"pad_token_id", table.pad},
          {"bos_token_id", nullptr},
          {"eos_token_id", nullptr},
          {"activation_function", "gelu_new"},
          {"embd_pdrop", 0.0},
          {"attn_pdrop", 0.0},
          {"resid_pdrop", 0.0},
          {"layer_norm_epsilon", 1e-12},
          {"torch_dtype", "float32"}};
}

void check_pack(const Options& options, const TaskPack& pack, const std::vector<std::string>& tasks) {
  check_fine_tuning("decoder", options, pack, tasks);
}

MadeBase make_base(const Options& options, const BaseInput& in) {
  const TokenTable& table = *in.pool->tokens();
  return pretrain_next_token(options, architecture_config(options, table, false),
                             architecture_config(options, table, true), in);
}

MadeModel make_model(const Options& options, const ModelInput& in) {
  return fine_tune(options, Pooling::kLast, in);
}

double seconds(const Options& options, ZooItem::Kind kind, int64_t tasks) {
  return next_token_seconds(options, options, kind, tasks, 350);  // measured
}

const RegisterRecipe<Options> registered{
    {.name = "decoder",
     .doc = "decoders of the layout of GPT-2, each expert with a head of its own, on tasks of text",
     .scales = {{"small", "128 wide, 4 blocks: minutes on a CPU", "text8"},
                {"medium", "256 wide, 6 blocks: on a GPU", "text10"}},
     .pooling = Pooling::kLast,
     .heads = Heads::kOfExperts,
     .pool = "text_pool.h5",
     .pool_maker = "tools/make_text_pool.py"},
    {reads_next_token, check_pack, check_next_token_pool, make_base, make_model, seconds}};

}  // namespace
}  // namespace fusegrid::recipes::decoder
