#include "config/usage.h"

namespace demask {

const std::vector<std::string_view>& usage_examples() {
  static const std::vector<std::string_view> examples = {
      "demask --num_samples=1 --sequence_length=256",
      "demask --sampling_method=standard --max_new_tokens=100 --start_text=\"To be or not to be\"",
      "demask configs/high_quality.py --seed=7 --output=samples.jsonl",
      "demask --infill_text=\"ROMEO: ########\" --temperature=0.6",
      "demask --prompts=prompts.jsonl --output=samples.jsonl --resume=True",
      "demask --inspect=out/diffusion.pt",
  };
  return examples;
}

const std::vector<UsageLine>& other_flags() {
  static const std::vector<UsageLine> flags = {
      {"-h, --help", "this text"},
      {"--version", "version, how it was built and with what"},
      {"--doctor", "what this machine gives: LibTorch, devices, threads, and what to install for more"},
      {"--generate=WHAT", "print the man page (man) or completions (bash, zsh, fish)"},
      {"--print_config", "the effective configuration, as a config file"},
  };
  return flags;
}

const std::vector<UsageLine>& exit_codes() {
  static const std::vector<UsageLine> codes = {
      {"0", "done"},
      {"2", "bad usage"},
      {"3", "an input is missing or unreadable"},
      {"4", "failed while running"},
      {"130", "interrupted"},
      {"143", "ended by SIGTERM"},
  };
  return codes;
}

}  // namespace demask
