// Which part of a run this process makes, as it was told or as the launcher that started it says.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace demask {

struct Shard {
  int64_t index = 0;  // from 0
  int64_t count = 1;
  std::optional<int64_t> local_rank;  // of this process on its machine, where a launcher says it
  // What said so, for people: "--shard=1/4", "RANK and WORLD_SIZE (torchrun)"; empty: not sharded.
  std::string source;
};

// The value of an environment variable; empty where it is not set.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;

// This process's own; a variable with an empty value counts as unset.
Environment process_environment();

// "k/n" with 0 <= k < n <= 1e6, or "auto": what the environment says, by the variables of torchrun, Open MPI, PMI
// (MPICH, Intel MPI), PMIx or Slurm, the first of these that set any. Throws Error(bad_usage) where `value` is neither,
// or where the variables are missing, half there or make no sense.
Shard parse_shard(const std::string& value, const Environment& environment);

// `name` with {shard} and {shards} replaced by index and count, the former with as many zeros before it as make names
// sort as the shards do.
std::string expand_shard_name(const std::string& name, const Shard& shard);

// Whether {shard} occurs, without which all shards would share the name.
bool has_shard_field(const std::string& name);

// Divides a row of parts among all shards by cost. Entry i is counts[i] >= 0 parts that cost costs[i] > 0 each. Gives
// the [first, last) of `shard`: no shard costs more than an even share and one part, those of all shards join without
// gap or overlap, and some may be empty. Where all parts cost the same, no two shards differ by more than one part. The
// same on every machine: costs are rounded once, to 2^-40 of the largest, and from there on all is whole numbers.
std::pair<int64_t, int64_t> shard_range(const std::vector<std::pair<int64_t, double>>& counts_and_costs,
                                        const Shard& shard);

}  // namespace demask
