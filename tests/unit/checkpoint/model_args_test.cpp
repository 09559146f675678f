#include "checkpoint/model_args.h"

#include <string>
#include <vector>

#include "tests/unit/checkpoint/small_checkpoints.h"

using Catch::Matchers::ContainsSubstring;
using namespace demask::testing;
using namespace demask::testing::pickled;

TEST_CASE("keys of model_args that demask does not know are refused, and those without effect are read past") {
  CHECK_THAT(
      with_args("moonshine", integer(3)),
      ContainsSubstring("does not know the key 'moonshine' (the integer 3)") && ContainsSubstring("TorchScript"));
  for (const std::string key : {"dropout", "attn_pdrop", "flash_attn", "init_std", "tie_weights"}) {
    CheckpointFile file = tiny_checkpoint();
    set_entry(file.model_args, key, integer(1));
    CHECK(read(file).parameters.size() == 10);
  }
}

TEST_CASE("a variation of the architecture is read where its value is what demask computes, and refused else") {
  struct Case {
    std::string key, computed, other;
  };
  const std::string base = "G\x40\xc3\x88\0\0\0\0\0"s;  // the float 10000
  for (const Case& variation : std::vector<Case>{{"rope_theta", base, integer(500000)},
                                                 {"rope_theta", integer(10000), integer(9999)},
                                                 {"n_kv_head", integer(1), integer(2)},
                                                 {"n_kv_head", none(), integer(2)},
                                                 {"softcap", none(), integer(30)},
                                                 {"logit_softcap", integer(0), integer(15)},
                                                 {"qk_norm", boolean(false), boolean(true)},
                                                 {"intermediate_size", integer(16), integer(11)},
                                                 {"activation", text("gelu"), text("silu")},
                                                 {"causal", boolean(true), boolean(false)}}) {
    CAPTURE(variation.key);
    CheckpointFile file = tiny_checkpoint();
    set_entry(file.model_args, variation.key, variation.computed);
    CHECK(read(file).parameters.size() == 10);
    CHECK_THAT(with_args(variation.key, variation.other), ContainsSubstring("'" + variation.key + "' is") &&
                                                              ContainsSubstring("but demask computes") &&
                                                              ContainsSubstring("TorchScript"));
  }
}

TEST_CASE("a mask token that model_args name is kept") {
  CheckpointFile file = tiny_checkpoint();
  CHECK_FALSE(read(file).args.mask_token_id);
  set_entry(file.model_args, "mask_token_id", integer(2));
  CHECK(read(file).args.mask_token_id == 2);
  CHECK_THAT(with_args("mask_token_id", integer(3)), ContainsSubstring("expected an integer from 0 to 2"));
}

TEST_CASE("model_args that NumPy computed are read") {
  const std::string type = call(global("numpy", "dtype"), {text("i8"), boolean(false), boolean(true)}) +
                           tuple({integer(3), text("<"), none(), none(), none()}) + "b";
  CheckpointFile file = tiny_checkpoint();
  // As protocol 2, which torch.save writes, has bytes.
  const std::string bytes = call(global("_codecs", "encode"), {text("\3\0\0\0\0\0\0\0"s), text("latin1")});
  set_entry(file.model_args, "vocab_size", call(global("numpy.core.multiarray", "scalar"), {type, bytes}));
  CHECK(read(file).args.vocab_size == 3);
}

TEST_CASE("model_args that no model has are refused with key, value and what is allowed") {
  CHECK_THAT(with_args("n_layer", ""), ContainsSubstring("'n_layer' is missing (keys found: 'n_head'"));
  CHECK_THAT(with_args("n_layer", integer(0)),
             ContainsSubstring("'n_layer' is the integer 0; expected an integer from 1"));
  CHECK_THAT(with_args("n_embd", integer(INT64_MAX)), ContainsSubstring("'n_embd' is the integer 9223372036854775807"));
  CHECK_THAT(with_args("vocab_size", none()), ContainsSubstring("'vocab_size' is None"));
  CHECK_THAT(with_args("block_size", call(global("numpy", "int64"), {})), ContainsSubstring("a call of 'numpy.int64'"));
  CHECK_THAT(with_args("n_head", integer(3)), ContainsSubstring("n_embd = 4 is not a multiple of n_head = 3"));
  CHECK_THAT(with_args("attention_type", text("sliding")),
             ContainsSubstring("'sliding'; expected 'causal' or 'bidirectional'"));
  CHECK_THAT(with_args("bias", text("yes")), ContainsSubstring("expected True or False"));

  CheckpointFile odd = tiny_checkpoint();
  set_entry(odd.model_args, "position_encoding", text("rotary"));
  set_entry(odd.model_args, "n_head", integer(4));
  CHECK_THAT(refusal_to_read(odd), ContainsSubstring("even head size"));
}

TEST_CASE("bias is on where model_args does not say, as in nanoGPT") {
  CHECK_THAT(with_args("bias", ""), ContainsSubstring("Missing: transformer.h.0.ln_1.bias"));
}
