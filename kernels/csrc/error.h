// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <stdexcept>
#include <string>

#include "pitviper.h"

namespace pitviper {

// What goes wrong inside the runtime; the C functions turn it into its code and keep the text.
class Error : public std::runtime_error {
 public:
  Error(pv_status code, const std::string& text) : std::runtime_error(text), code_(code) {}
  pv_status code() const { return code_; }

 private:
  pv_status code_;
};

}  // namespace pitviper
