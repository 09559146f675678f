// What is measured: the named cases, and the times that they are compared with.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace demask::bench {

// What a forward's matrix products depend on, besides the tokens and the vocabulary.
struct ModelShape {
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t width = 0;
};

// Seconds of the same work elsewhere.
struct Anchor {
  std::string name;  // of the case
  double original = 0;
  double to_reach = 0;
};

struct Case {
  std::string name;
  std::vector<std::string> arguments;  // of demask, without those that every case has
  int64_t samples = 0;
  std::optional<ModelShape> shape;  // where the forwards' products give a limit; empty for decoding with a cache
  bool cuda = true;                 // which device the case is meant for
};

// The cases that `selection` names: names or beginnings of names, separated by commas, or "none". An empty one selects
// those meant for the device. Throws Error(bad_usage) where a name fits no case.
std::vector<Case> select_cases(const std::string& selection, bool cuda);

// Empty where the case has none.
std::optional<Anchor> find_anchor(const std::string& name);

// The flags of a diffusion run that a user would give.
std::vector<std::string> diffusion_arguments(const std::string& checkpoint, int64_t length, int64_t iterations,
                                             bool intelligent);

// All of demask's arguments for `samples` samples in one batch, with a fixed seed and nothing printed.
std::vector<std::string> complete_arguments(const std::vector<std::string>& arguments, int64_t samples,
                                            const std::vector<std::string>& passed_through);

}  // namespace demask::bench
