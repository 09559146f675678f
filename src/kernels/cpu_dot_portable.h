// Four sums of products of whole numbers, on any processor.
namespace demask::kernels::cpu {
namespace {

struct Dot {
  static constexpr int64_t pair = 2;
  static constexpr int32_t offset = 0;
  using Activation = int16_t;
  using Sums = Lanes::Wholes;
  struct Weights {
    Sums first, second;  // of each pair
  };
  struct Activations {
    int32_t first, second;
  };

  static Sums start(const int32_t* p) { return Sums{p[0], p[1], p[2], p[3]}; }
  static Weights weights(const int8_t* p) { return {Sums{p[0], p[2], p[4], p[6]}, Sums{p[1], p[3], p[5], p[7]}}; }
  static Activations splat(const char* a) {
    int16_t both[pair];
    std::memcpy(both, a, sizeof both);
    return {both[0], both[1]};
  }
  static Sums add(Sums sums, Activations a, Weights w) { return sums + w.first * a.first + w.second * a.second; }
  static Lanes to_float(Sums sums) { return {__builtin_convertvector(sums, Lanes::Floats)}; }
};

}  // namespace
}  // namespace demask::kernels::cpu
