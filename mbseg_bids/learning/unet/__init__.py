"""The U-Net that Dadar et al. 2022 compare with: network, training, inference, evaluation."""
