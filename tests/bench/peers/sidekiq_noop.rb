# A Sidekiq worker that does nothing; `ruby sidekiq_noop.rb COUNT` pushes that many jobs.
require "sidekiq"

redis = { path: ENV.fetch("PEER_SOCKET"), driver: :hiredis }
Sidekiq.configure_server { |config| config.redis = redis }
Sidekiq.configure_client { |config| config.redis = redis }
Sidekiq.logger.level = Logger::WARN

class Noop
  include Sidekiq::Worker

  def perform(number); end
end

if $PROGRAM_NAME == __FILE__
  Integer(ARGV[0]).times.each_slice(1000) do |numbers|
    Sidekiq::Client.push_bulk("class" => Noop, "args" => numbers.map { |n| [n] })
  end
end
