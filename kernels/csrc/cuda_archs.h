// SPDX-License-Identifier: Apache-2.0
// What the device code of this build was compiled for, in the words of NVIDIA's tools.
#pragma once
#include <sstream>
#include <string>
#include <vector>

namespace pitviper {

// "sm_87" is machine code, "compute_90" PTX. Empty in a build without nvcc.
inline std::vector<std::string> cuda_archs() {
  std::vector<std::string> names;
#ifdef PITVIPER_CUDA_ARCHITECTURES
  std::istringstream words(PITVIPER_CUDA_ARCHITECTURES);
  for (std::string word; words >> word;) {
    const std::size_t dash = word.find('-');
    const std::string number = word.substr(0, dash);
    const std::string kind = dash == std::string::npos ? "" : word.substr(dash + 1);
    if (kind != "virtual") names.push_back("sm_" + number);
    if (kind != "real") names.push_back("compute_" + number);
  }
#endif
  return names;
}

}  // namespace pitviper
