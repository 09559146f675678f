#include "engine/engine.h"

#include <string>
#include <vector>

#include "config/command_line.h"
#include "sampling/strategy_plan.h"
#include "tests/support/catch.h"

using namespace demask;

TEST_CASE("A draw calls its model as often as its iterations come to, but for steps that are not judged") {
  const std::string source = DEMASK_SOURCE_DIR;
  struct Case {
    std::vector<std::string> arguments;
    int64_t planned;  // of four iterations
    bool exact;       // no step may do without being judged
  };
  const std::vector<Case> cases = {
      {{"--strategy=random"}, 4, true},
      {{"--strategy=confidence", "--cfg_scale=1", "--start=ROMEO:"}, 8, true},
      {{"--strategy=remask", "--intelligent_remasking=True", "--confidence_source=draw"}, 4, true},
      {{"--strategy=remask", "--intelligent_remasking=True"}, 8, false}};
  for (const Case& one : cases) {
    CAPTURE(one.arguments);
    std::vector<std::string> arguments = one.arguments;
    arguments.insert(arguments.end(),
                     {"--out_dir=" + source + "/out", "--data_dir=" + source + "/data", "--device=cpu",
                      "--num_samples=1", "--seed=1", "--sequence_length=16", "--diffusion_iterations=4"});
    const ParsedConfig parsed = parse_command_line(arguments).parsed;
    const Engine engine(parsed);
    const Work work = engine.own_work();
    DrawHooks hooks;
    hooks.on_batch = [](const std::vector<SampleTask>& /*tasks*/, const std::vector<DrawnSample>& /*samples*/,
                        int64_t /*frontier*/) {};
    engine.draw(work, work.first(), work.end(), work.samples(), hooks);
    CHECK(forwards_of_iterations(parsed.config.diffusion) == one.planned);
    const int64_t drawing = engine.forwards() - 1;  // without the one for the finished text
    CHECK(drawing <= one.planned);
    CHECK(drawing > (one.exact ? one.planned - 1 : one.planned / 2));
  }
}
