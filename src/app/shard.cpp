#include "app/shard.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <system_error>

#include "core/error.h"
#include "core/text.h"

namespace demask {
namespace {

constexpr int64_t most_shards = 1000000;
constexpr size_t longest_value_shown = 100;  // bytes of a value that a message repeats
constexpr std::string_view shard_field = "{shard}";
constexpr std::string_view shards_field = "{shards}";

// Digits and nothing else.
std::optional<int64_t> whole_number(std::string_view text) {
  int64_t value = 0;
  if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos ||
      std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc()) {
    return std::nullopt;
  }
  return value;
}

// ---- what launchers say

// Of several names for the same, the first that is set counts.
struct Launcher {
  std::string_view name;
  std::string rank;
  std::vector<std::string> sizes;
  std::vector<std::string> local_ranks;
  std::vector<std::string> borrowed_sizes = {};  // another's, which count where none of its own is set
};

// In the order in which they are asked. A launcher that runs inside a Slurm job comes before Slurm, whose variables are
// then those of the job or of the launcher's own step.
const std::vector<Launcher>& launchers() {
  static const std::vector<Launcher> known = {
      {"torchrun", "RANK", {"WORLD_SIZE"}, {"LOCAL_RANK"}},
      {"Open MPI", "OMPI_COMM_WORLD_RANK", {"OMPI_COMM_WORLD_SIZE"}, {"OMPI_COMM_WORLD_LOCAL_RANK"}},
      {"PMI", "PMI_RANK", {"PMI_SIZE"}, {"MPI_LOCALRANKID", "PMI_LOCAL_RANK"}},
      {"PMIx", "PMIX_RANK", {"PMIX_SIZE"}, {"SLURM_LOCALID"}, {"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"}},
      {"Slurm", "SLURM_PROCID", {"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"}, {"SLURM_LOCALID"}},
  };
  return known;
}

std::vector<std::string> all_sizes(const Launcher& launcher) {
  std::vector<std::string> sizes = launcher.sizes;
  sizes.insert(sizes.end(), launcher.borrowed_sizes.begin(), launcher.borrowed_sizes.end());
  return sizes;
}

struct Variable {
  std::string name;
  int64_t value = 0;
};

// Throws where the first that is set is no whole number.
std::optional<Variable> read_first(const std::vector<std::string>& names, const Environment& environment) {
  for (const std::string& name : names) {
    if (const std::optional<std::string> text = environment(name)) {
      const std::optional<int64_t> value = whole_number(*text);
      if (!value) {
        fail(ExitCode::bad_usage,
             "--shard=auto: the environment's {}={} is no whole number. Mend it, or give --shard=k/n.", name,
             printable(*text, longest_value_shown));
      }
      return Variable{name, *value};
    }
  }
  return std::nullopt;
}

[[noreturn]] void fail_for_half(const Variable& there, const std::string& missing) {
  fail(ExitCode::bad_usage,
       "--shard=auto: the environment has {}={} but no {}. Set both, unset the one, or give --shard=k/n.", there.name,
       there.value, missing);
}

// Empty where the launcher's variables are not set.
std::optional<Shard> ask(const Launcher& launcher, const Environment& environment) {
  const std::optional<Variable> rank = read_first({launcher.rank}, environment);
  if (!rank) {
    if (const std::optional<Variable> size = read_first(launcher.sizes, environment)) {
      fail_for_half(*size, launcher.rank);
    }
    return std::nullopt;
  }
  const std::vector<std::string> sizes = all_sizes(launcher);
  const std::optional<Variable> size = read_first(sizes, environment);
  if (!size) {
    fail_for_half(*rank, fmt::format("{}", fmt::join(sizes, " or ")));
  }
  if (rank->value >= size->value) {
    fail(ExitCode::bad_usage,
         "--shard=auto: the environment's {}={} must be below {}={}, as it counts from 0. Mend them, or give "
         "--shard=k/n.",
         rank->name, rank->value, size->name, size->value);
  }
  if (size->value > most_shards) {
    fail(ExitCode::bad_usage, "--shard=auto: the environment's {}={} must be at most {}. Give --shard=k/n.", size->name,
         size->value, most_shards);
  }
  Shard shard;
  shard.index = rank->value;
  shard.count = size->value;
  if (const std::optional<Variable> local_rank = read_first(launcher.local_ranks, environment)) {
    shard.local_rank = local_rank->value;
  }
  shard.source = fmt::format("{} and {} ({})", rank->name, size->name, launcher.name);
  return shard;
}

Shard ask_launchers(const Environment& environment) {
  std::string looked_for;
  for (const Launcher& launcher : launchers()) {
    if (std::optional<Shard> shard = ask(launcher, environment)) {
      return *std::move(shard);
    }
    looked_for += fmt::format("{}{} and {} ({})", looked_for.empty() ? "" : ", ", launcher.rank,
                              fmt::join(all_sizes(launcher), " or "), launcher.name);
  }
  fail(ExitCode::bad_usage,
       "--shard=auto: the environment does not say which process of how many this is; looked for {}. Give --shard=k/n.",
       looked_for);
}

// ---- names and ranges

void replace_all(std::string& text, std::string_view field, const std::string& value) {
  for (size_t at = text.find(field); at != std::string::npos; at = text.find(field, at + value.size())) {
    text.replace(at, field.size(), value);
  }
}

// Holds 2^63 parts of the largest weight times the most shards.
__extension__ typedef unsigned __int128 Wide;

Wide wide(int64_t value) {
  return static_cast<Wide>(static_cast<uint64_t>(value));
}

// Costs as whole numbers. Scaled by a power of two, so that whole costs of up to 2^40 stay in exact proportion.
class Weights {
 public:
  explicit Weights(double largest_cost) { std::frexp(largest_cost, &exponent_); }
  Wide operator()(double cost) const {
    constexpr int bits = 40;
    return wide(std::max(static_cast<int64_t>(std::llround(std::ldexp(cost, bits - exponent_))), int64_t{1}));
  }

 private:
  int exponent_ = 0;
};

Wide divided_up(Wide number, Wide divisor) {
  return (number + divisor - 1) / divisor;
}

}  // namespace

Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    return value == nullptr || *value == '\0' ? std::nullopt : std::optional<std::string>(value);
  };
}

Shard parse_shard(const std::string& value, const Environment& environment) {
  if (value == "auto") {
    return ask_launchers(environment);
  }
  const size_t slash = std::min(value.find('/'), value.size());
  const std::optional<int64_t> index = whole_number(std::string_view(value).substr(0, slash));
  const std::optional<int64_t> count =
      slash < value.size() ? whole_number(std::string_view(value).substr(slash + 1)) : std::nullopt;
  if (!index || !count || *count < 1 || *count > most_shards) {
    fail(ExitCode::bad_usage,
         "--shard={}: must be k/n with k from 0 to n - 1 and n from 1 to {}, or auto. Give 0/4 to 3/4 to four "
         "processes, or auto where a launcher starts them.",
         printable(value, longest_value_shown), most_shards);
  }
  if (*index >= *count) {
    fail(ExitCode::bad_usage, "--shard={}: counts from 0, so the last of {} is {}/{}. Give one from 0/{} on.",
         printable(value, longest_value_shown), *count, *count - 1, *count, *count);
  }
  Shard shard;
  shard.index = *index;
  shard.count = *count;
  shard.source = "--shard=" + value;
  return shard;
}

std::string expand_shard_name(const std::string& name, const Shard& shard) {
  const std::string::size_type digits = std::to_string(shard.count - 1).size();
  std::string expanded = name;
  replace_all(expanded, shard_field, fmt::format("{:0{}}", shard.index, digits));
  replace_all(expanded, shards_field, std::to_string(shard.count));
  return expanded;
}

bool has_shard_field(const std::string& name) {
  return name.find(shard_field) != std::string::npos;
}

// Shard k begins where the cost of all before reaches its share of the total, k/n. Kept in units of 1/n of a weight, in
// which both are whole.
std::pair<int64_t, int64_t> shard_range(const std::vector<std::pair<int64_t, double>>& counts_and_costs,
                                        const Shard& shard) {
  double largest_cost = 0;
  for (const auto& entry : counts_and_costs) {
    largest_cost = std::max(largest_cost, entry.second);
  }
  const Weights weigh(largest_cost);
  int64_t parts = 0;
  Wide total = 0;
  bool alike = true;
  for (const auto& [count, cost] : counts_and_costs) {
    parts += count;
    total += wide(count) * weigh(cost);
    alike = alike && cost == largest_cost;
  }
  const Wide shards = wide(shard.count);
  if (alike) {
    const auto boundary = [&](int64_t k) { return static_cast<int64_t>(wide(parts) * wide(k) / shards); };
    return {boundary(shard.index), boundary(shard.index + 1)};
  }
  // How many parts have less before them than the share, of those that are seen.
  struct Boundary {
    Wide share;
    int64_t parts = 0;
    void see(int64_t count, Wide weight, Wide before) {
      if (before < share) {
        const Wide fitting = divided_up(share - before, weight);
        parts += fitting < wide(count) ? static_cast<int64_t>(fitting) : count;
      }
    }
  };
  Boundary first{total * wide(shard.index)};
  Boundary last{total * wide(shard.index + 1)};
  Wide before = 0;
  for (const auto& [count, cost] : counts_and_costs) {
    const Wide weight = weigh(cost) * shards;
    first.see(count, weight, before);
    last.see(count, weight, before);
    before += wide(count) * weight;
  }
  return {first.parts, last.parts};
}

}  // namespace demask
